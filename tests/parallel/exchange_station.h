#pragma once

// A rank that exchanges tensors, for the checks of exchange_checks.h.

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "parallel/exchange.h"
#include "runtime/transfer.h"
#include "tests/support/test_device.h"

namespace timepipe::testing {

using MakeExchange = std::unique_ptr<Exchange> (*)(Context&, Communicator&);

// A rank and its exchange.
struct Station {
  Station(Communicator& comm, MakeExchange make)
      : comm(comm), exchange(make(ctx, comm)) {}

  TestContext ctx;
  Communicator& comm;
  std::unique_ptr<Exchange> exchange;

  int left() const { return (comm.rank() + comm.size() - 1) % comm.size(); }
  int right() const { return (comm.rank() + 1) % comm.size(); }
  bool alone() const { return comm.size() == 1; }
};

constexpr Lane kAllLanes[] = {Lane::kForward, Lane::kGradient, Lane::kCarried};

// Numbers that tell their place and `seed`.
inline std::vector<int64_t> numbers(int64_t count, int64_t seed) {
  std::vector<int64_t> values(count);
  for (int64_t i = 0; i < count; ++i) values[i] = 7919 * i + (seed << 40);
  return values;
}

inline Tensor tensor_of(Context& ctx, const std::vector<int64_t>& values) {
  Tensor t = ctx.allocate({std::ssize(values)}, DType::kI64);
  upload(ctx, std::span<const int64_t>(values), t);
  return t;
}

inline std::vector<int64_t> values_of(Context& ctx, const Tensor& t) {
  std::vector<int64_t> values(t.numel());
  download(ctx, t, std::span(values));
  return values;
}

// A receive that was posted, and what should come.
struct Expected {
  Tensor into;
  Exchange::Arrival arrival;
  std::vector<int64_t> values;

  void check(Context& ctx) {
    arrival.wait();
    EXPECT_EQ(values_of(ctx, into), values);
  }
};

inline Expected expect(Station& at, int peer, const Tag& tag,
                       std::vector<int64_t> values) {
  Tensor into = at.ctx.allocate({std::ssize(values)}, DType::kI64);
  auto arrival = at.exchange->receive(into, peer, tag);
  return {std::move(into), std::move(arrival), std::move(values)};
}

}  // namespace timepipe::testing
