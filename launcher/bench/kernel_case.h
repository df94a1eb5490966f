#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "launcher/bench/operands.h"

namespace timepipe {

// Of a model and of the rows that a kernel gets.
struct BenchSizes {
  std::string name;
  int64_t hidden, heads, intermediate, vocab, mini_batch, tokens;

  int64_t head_size() const { return hidden / heads; }
};

// The paper's models by name (configs/base), and "tiny"; empty for another.
std::optional<BenchSizes> bench_sizes(const std::string& name);

// A kernel with its operands.
struct KernelCall {
  std::function<void()> run;
  double flops = 0;     // of the definition, a multiply-add being two
  double left_out = 0;  // bytes of operands that aren't touched
  std::function<void()> after = {};  // makes results of what `run` wrote
};

struct KernelCase {
  std::string name;
  bool in_bf16 = false;     // also with activations in bf16
  bool same_types = false;  // results that depend on the type: words, hashes
  std::function<KernelCall(Operands&, const BenchSizes&)> make;
};

// Every kernel of kernels/, those of a file one after the other.
std::vector<KernelCase> kernel_cases();

// By what they work on; parts of the above.
std::vector<KernelCase> product_cases();
std::vector<KernelCase> row_cases();
std::vector<KernelCase> pointwise_cases();
std::vector<KernelCase> parameter_cases();
std::vector<KernelCase> ttt_cases();

}  // namespace timepipe
