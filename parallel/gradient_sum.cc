#include "parallel/gradient_sum.h"

#include <bit>
#include <string>

#include "kernels/gradient_sum.h"
#include "runtime/transfer.h"

namespace timepipe {
namespace {

// The sum of N addends below 2^11/N = 2^63/N units of 2^-52 can't wrap, unless
// they are rounded up to that. They aren't while it is 2^24 or more: the f32
// numbers next below are integers.
constexpr int64_t kMaxAddendsF32 = int64_t{1} << 39;
// The rest after hi is up to 2^-41, so lo is up to 2^47 units of 2^-88 per
// addend, whatever its size: 2^15 of them reach 2^62.
constexpr int64_t kMaxAddendsF64 = int64_t{1} << 15;

}  // namespace

GradientSum::GradientSum(Context& ctx, const ParameterLayout& layout,
                         DType dtype)
    : layout_(layout), dtype_(dtype) {
  require(dtype == DType::kF32 || dtype == DType::kF64, "gradient sum: dtype ",
          name_of(dtype), ", expected f32 or f64");
  words_ = ctx.zeros({gradient_sum_words(dtype), layout.numel()}, DType::kI64,
                     MemoryUse::kParameters);
  refused_ = ctx.zeros({1}, DType::kI64, MemoryUse::kParameters);
}

void GradientSum::start(Context& ctx, int64_t max_addends) {
  const int64_t most = dtype_ == DType::kF32 ? kMaxAddendsF32 : kMaxAddendsF64;
  require(1 <= max_addends && max_addends <= most, "max_addends: ", max_addends,
          ", expected 1 to ", most, " (micro-batch, chunk) pairs in a step of ",
          name_of(dtype_));
  limit_ = 0x1p11 / static_cast<double>(
                        std::bit_ceil(static_cast<uint64_t>(max_addends)));
  clear(ctx, words_);
  clear(ctx, refused_);
}

void GradientSum::add(Context& ctx, int64_t parameter, const Tensor& gradient) {
  require(limit_ > 0, "gradient sum: add() before start()");
  const Parameter& p = layout_.parameters().at(parameter);
  const std::string name = "gradient of " + p.name;
  require_shape(name.c_str(), gradient, p.shape);
  require(gradient.dtype() == dtype_, name, ": dtype ",
          name_of(gradient.dtype()), ", expected ", name_of(dtype_));
  gradient_sum_add(ctx, gradient, limit_, p.offset, words_, refused_);
}

void GradientSum::end() {
  require(limit_ > 0, "gradient sum: end() before start()");
  limit_ = 0;
}

}  // namespace timepipe
