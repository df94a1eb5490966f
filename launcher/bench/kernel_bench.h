#pragma once

#include <string>
#include <vector>

#include "kernels/ttt_shape.h"
#include "launcher/bench/kernel_case.h"
#include "launcher/bench/stopwatch.h"

namespace timepipe {

// What one kernel took, and how far its results are from those in f64.
struct KernelFigures {
  std::string name;
  DType stored;  // f32 or bf16
  double seconds = 0, bytes = 0, flops = 0;
  bool limited_by_memory = true;
  double share = 0;        // of what the device can do
  std::string worst = {};  // result, where error / allowed is largest
  double error = 0, allowed = 0;
  std::string failure = {};  // what it threw; empty: nothing

  bool right() const { return failure.empty() && error <= allowed; }
};

// Microseconds per mini-batch of one pass of a scan.
struct ScanFigures {
  InnerModel inner;
  bool backward;
  int64_t heads;
  double whole, chain;
};

// Runs kernels on a device, their references on the CPU in f64.
class KernelBench {
 public:
  KernelBench(Context& ctx, BenchSizes sizes, double budget);

  const BenchLimits& limits() const { return limits_; }
  KernelFigures run(const KernelCase& kernel, DType stored);
  // In f32.
  ScanFigures run_scan(InnerModel inner, bool backward, int64_t heads);

 private:
  void time(const KernelCase& kernel, KernelFigures& figures);
  void compare(const KernelCase& kernel, KernelFigures& figures);

  Context& ctx_;
  Context reference_;
  BenchSizes sizes_;
  double budget_;  // seconds of each measurement
  BenchLimits limits_;
};

}  // namespace timepipe
