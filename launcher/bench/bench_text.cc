#include "launcher/bench/bench_text.h"

#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace timepipe {
namespace {

using Json = nlohmann::ordered_json;

template <class... Args>
std::string printed(const char* format, Args... args) {
  char text[240];
  std::snprintf(text, sizeof(text), format, args...);
  return text;
}

const char* inner_name(InnerModel inner) {
  return inner == InnerModel::kLinear ? "linear" : "mlp";
}

}  // namespace

std::string limits_line(const BenchLimits& limits) {
  return printed(
      "limits: copy %.1f GB/s, products %.3g TFLOP/s f32, "
      "%.3g TFLOP/s bf16\n",
      limits.bytes_per_second / 1e9, limits.f32_flops / 1e12,
      limits.bf16_flops / 1e12);
}

std::string kernel_heading() {
  return printed("%-32s %-4s %11s %9s %9s %-8s %6s %9s %9s\n", "kernel", "type",
                 "us", "MB", "GFLOP", "limit", "share", "error", "allowed");
}

std::string kernel_line(const KernelFigures& f) {
  const std::string begin =
      printed("%-32s %-4s ", f.name.c_str(), name_of(f.stored));
  if (!f.failure.empty()) return begin + "FAILED: " + f.failure + "\n";
  return begin + printed("%11.1f %9.2f %9.3f %-8s %5.1f%% %9.1e %9.1e%s\n",
                         f.seconds * 1e6, f.bytes / 1e6, f.flops / 1e9,
                         f.limited_by_memory ? "memory" : "products",
                         f.share * 100, f.error, f.allowed,
                         f.right() ? "" : ("  WRONG: " + f.worst).c_str());
}

std::string scan_heading() {
  return "scan in f32, us per mini-batch:\n" +
         printed("%-32s %6s %11s %11s\n", "", "heads", "whole", "its chain");
}

std::string scan_line(const ScanFigures& f) {
  const std::string name = std::string("ttt_scan ") + inner_name(f.inner) +
                           (f.backward ? " backward" : " forward");
  return printed("%-32s %6lld %11.2f %11.2f\n", name.c_str(),
                 static_cast<long long>(f.heads), f.whole, f.chain);
}

std::string bench_json(Device device, const BenchSizes& sizes,
                       const BenchLimits& limits,
                       const std::vector<KernelFigures>& kernels,
                       const std::vector<ScanFigures>& scans) {
  Json json = {{"device", to_string(device)},
               {"size", sizes.name},
               {"tokens", sizes.tokens},
               {"limits",
                {{"bytes_per_second", limits.bytes_per_second},
                 {"f32_flops", limits.f32_flops},
                 {"bf16_flops", limits.bf16_flops}}},
               {"kernels", Json::array()},
               {"scans", Json::array()}};
  for (const KernelFigures& f : kernels) {
    Json one = {{"name", f.name}, {"type", name_of(f.stored)}};
    if (f.failure.empty()) {
      one.update({{"us", f.seconds * 1e6},
                  {"bytes", f.bytes},
                  {"flops", f.flops},
                  {"limit", f.limited_by_memory ? "memory" : "products"},
                  {"share", f.share},
                  {"error", f.error},  // null: not a number
                  {"allowed", f.allowed},
                  {"worst", f.worst},
                  {"right", f.right()}});
    } else {
      one.update({{"failure", f.failure}, {"right", false}});
    }
    json["kernels"].push_back(std::move(one));
  }
  for (const ScanFigures& f : scans) {
    json["scans"].push_back({{"inner", inner_name(f.inner)},
                             {"pass", f.backward ? "backward" : "forward"},
                             {"heads", f.heads},
                             {"us_per_mini_batch", f.whole},
                             {"chain_us_per_mini_batch", f.chain}});
  }
  return json.dump(2) + "\n";
}

}  // namespace timepipe
