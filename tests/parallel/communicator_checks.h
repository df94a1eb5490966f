#pragma once

// What every transport must do, whatever the number of ranks. Each check is run
// by all ranks at once: as threads (communicator_test.cc) and as processes
// (mpi_communicator_test.cc).

#include <ostream>
#include <vector>

#include "parallel/communicator.h"

namespace timepipe::testing {

struct CommunicatorCheck {
  const char* name;
  void (*run)(Communicator&);
};

void PrintTo(const CommunicatorCheck& check, std::ostream* out);

const std::vector<CommunicatorCheck>& communicator_checks();

}  // namespace timepipe::testing
