#include "launcher/bench/stopwatch.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <vector>

#include "kernels/matmul.h"
#include "launcher/bench/operands.h"

namespace timepipe {
namespace {

double seconds_of(Context& ctx, const std::function<void()>& call,
                  int64_t calls) {
  using Clock = std::chrono::steady_clock;
  const auto begin = Clock::now();
  for (int64_t i = 0; i < calls; ++i) call();
  ctx.record().synchronize();
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

}  // namespace

double seconds_per_call(Context& ctx, const std::function<void()>& call,
                        double budget) {
  constexpr int kRounds = 7;
  seconds_of(ctx, call, 1);  // what only the first does
  const double once = seconds_of(ctx, call, 1);
  const double share = budget / kRounds;
  const auto calls = static_cast<int64_t>(
      std::clamp(std::ceil(share / std::max(once, 1e-9)), 1., 1e4));
  std::vector<double> seconds;
  double spent = 0;
  do {
    const double round = seconds_of(ctx, call, calls);
    spent += round;
    seconds.push_back(round / static_cast<double>(calls));
  } while (spent < budget && seconds.size() < kRounds);
  std::ranges::sort(seconds);
  return seconds[seconds.size() / 2];
}

BenchLimits measure_limits(Context& ctx, int64_t side, double budget) {
  const auto rate = [&](DType stored) {
    const Operands::Types types = {stored, DType::kF32};
    Operands o(ctx, types, types);
    const Tensor a = o.stored({side, side}), b = o.stored({side, side});
    Tensor c = o.stored_result("c", {side, side});
    const double flops = 2 * std::pow(static_cast<double>(side), 3);
    return flops / seconds_per_call(
                       ctx, [&] { matmul(ctx, Form::kNN, a, b, c); }, budget);
  };
  const int64_t elements = side * (int64_t{1} << 14);
  const Tensor from = ctx.zeros({elements}, DType::kF32);
  const Tensor to = ctx.zeros({elements}, DType::kF32);
  const double copy_seconds = seconds_per_call(
      ctx, [&] { copy(ctx, from, to); }, budget);
  return {2. * static_cast<double>(from.size_bytes()) / copy_seconds,
          rate(DType::kF32), rate(DType::kBF16)};
}

}  // namespace timepipe
