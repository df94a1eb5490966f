#pragma once

#include <functional>

#include "runtime/context.h"

namespace timepipe {

// Seconds of one call: the median over rounds of as many calls as take a while,
// the device being done at the end of each. About `budget` seconds in all.
double seconds_per_call(Context& ctx, const std::function<void()>& call,
                        double budget);

// What a device can do at most, measured by its own copies and products.
struct BenchLimits {
  double bytes_per_second;  // read or written
  double f32_flops, bf16_flops;
};

// side: of the square matrices; side * 64 KiB are copied.
BenchLimits measure_limits(Context& ctx, int64_t side, double budget);

}  // namespace timepipe
