#include <utility>

#include "launcher/bench/kernel_case.h"

namespace timepipe {

std::optional<BenchSizes> bench_sizes(const std::string& name) {
  // hidden, heads, intermediate, vocabulary, mini-batch, tokens
  const BenchSizes all[] = {
      {"tiny", 32, 2, 48, 65, 16, 40},
      {"125m", 768, 12, 2048, 32000, 16, 2048},
      {"350m", 1024, 16, 2736, 32000, 16, 2048},
      {"760m", 1536, 16, 4096, 32000, 16, 2048},
      {"1.3b", 2048, 32, 5504, 32000, 16, 2048},
  };
  for (const BenchSizes& sizes : all) {
    if (sizes.name == name) return sizes;
  }
  return std::nullopt;
}

std::vector<KernelCase> kernel_cases() {
  std::vector<KernelCase> all;
  for (auto part : {product_cases, row_cases, pointwise_cases, ttt_cases,
                    parameter_cases}) {
    for (KernelCase& one : part()) all.push_back(std::move(one));
  }
  return all;
}

}  // namespace timepipe
