#include "kernels/gradient_sum.h"

#include <string>

#include "kernels/backend.h"
#include "kernels/checks.h"

namespace timepipe {
namespace {

void require_words(const Tensor& words, DType dtype) {
  require_dtype("words", words, DType::kI64);
  require_rank("words", words, 2);
  require_shape("words", words, {gradient_sum_words(dtype), words.dim(1)});
}

void require_offset(int64_t offset, const Tensor& flat, const Tensor& words) {
  require(0 <= offset && offset + flat.numel() <= words.dim(1),
          "offset: ", offset, ", expected one for ", flat.numel(), " of ",
          words.dim(1), " elements");
}

}  // namespace

int64_t gradient_sum_words(DType dtype) { return dtype == DType::kF32 ? 1 : 2; }

void gradient_sum_add(Context& ctx, const Tensor& gradient, double limit,
                      int64_t offset, Tensor& words, Tensor& refused) {
  require_floating("gradient", gradient);
  require_words(words, gradient.dtype());
  require_offset(offset, gradient, words);
  require_dtype("refused", refused, DType::kI64);
  require_shape("refused", refused, {1});
  const KernelScope scope(ctx);
  TIMEPIPE_KERNEL(ctx, gradient_sum_add, gradient, limit, offset, words,
                  refused);
}

void gradient_sum_values(Context& ctx, const Tensor& words, int64_t offset,
                         Tensor& values) {
  require_floating("values", values);
  require_words(words, values.dtype());
  require_offset(offset, values, words);
  const KernelScope scope(ctx);
  TIMEPIPE_KERNEL(ctx, gradient_sum_values, words, offset, values);
}

}  // namespace timepipe
