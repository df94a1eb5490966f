#include "kernels/parameter_blocks.h"

#include <string>

#include "kernels/backend.h"
#include "kernels/checks.h"

namespace timepipe {
namespace {

void require_blocks(const ParameterLayout& layout, int64_t first,
                    int64_t last) {
  require(0 <= first && first <= last && last <= layout.num_blocks(),
          "blocks [", first, ",", last, ") of ", layout.num_blocks());
}

}  // namespace

void block_square_sums(Context& ctx, const ParameterLayout& layout,
                       int64_t first, int64_t last, const Tensor& shard,
                       Tensor& sums) {
  require_blocks(layout, first, last);
  require_floating("shard", shard);
  require_dtype("sums", sums, DType::kF64);
  require_shape("sums", sums, {last - first});
  if (first == last) return;
  const ParameterBlock end = layout.block(last - 1);
  const int64_t least = end.offset + end.count - layout.block(first).offset;
  require(shard.numel() >= least, "shard: ", shard.numel(),
          " elements, expected ", least, " or more");
  const KernelScope scope(ctx);
  TIMEPIPE_KERNEL(ctx, block_square_sums, layout, first, last, shard, sums);
}

void block_hashes(Context& ctx, const ParameterLayout& layout, int64_t first,
                  int64_t last, const Tensor& flat, Tensor& hashes) {
  require_blocks(layout, first, last);
  require_shape("flat", flat, {layout.numel()});
  require_dtype("hashes", hashes, DType::kI64);
  require_shape("hashes", hashes, {last - first});
  const KernelScope scope(ctx);
  TIMEPIPE_KERNEL(ctx, block_hashes, layout, first, last, flat, hashes);
}

}  // namespace timepipe
