#pragma once

// What every exchange of tensors must do, whatever the transport below it and
// the number of ranks. Each check is run by all ranks at once, as those of
// communicator_checks.h.

#include <ostream>
#include <vector>

#include "tests/parallel/exchange_station.h"

namespace timepipe::testing {

struct ExchangeCheck {
  const char* name;
  void (*run)(Station&);
  const char* kind;
  MakeExchange make;

  void operator()(Communicator& comm) const {
    Station at(comm, make);
    run(at);
  }
};

// The kinds of exchange for tensors of the tests' device.
struct ExchangeKind {
  const char* name;
  MakeExchange make;
};
std::vector<ExchangeKind> exchange_kinds();

void PrintTo(const ExchangeCheck& check, std::ostream* out);

std::vector<ExchangeCheck> exchange_checks();

}  // namespace timepipe::testing
