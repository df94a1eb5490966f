#pragma once

#include <string>
#include <vector>

#include "launcher/bench/kernel_bench.h"

namespace timepipe {

std::string limits_line(const BenchLimits& limits);
std::string kernel_heading();
std::string kernel_line(const KernelFigures& figures);
std::string scan_heading();
std::string scan_line(const ScanFigures& figures);

// All of them, as one object of JSON.
std::string bench_json(Device device, const BenchSizes& sizes,
                       const BenchLimits& limits,
                       const std::vector<KernelFigures>& kernels,
                       const std::vector<ScanFigures>& scans);

}  // namespace timepipe
