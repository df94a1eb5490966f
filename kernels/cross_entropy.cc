#include "kernels/cross_entropy.h"

#include <algorithm>

#include "kernels/backend.h"
#include "kernels/checks.h"

namespace timepipe {
namespace {

void check(const CrossEntropy& args, const Tensor& losses) {
  require_matrix("x", args.x, /*or_bf16=*/true);
  require_rank("table", args.table, 2);
  require_tensor("table", args.table, args.x,
                 {args.table.dim(0), args.x.dim(1)});
  require_dtype("targets", args.targets, DType::kI64);
  require_members(args.rows);
  require_shape("x", args.x, {args.rows.count(), args.x.dim(1)});
  require_shape("targets", args.targets, {args.x.dim(0)});
  require_dtype("scales", args.scales, DType::kF64);
  require_shape("scales", args.scales, {args.rows.members});
  require_dtype("losses", losses, DType::kF64);
  require_shape("losses", losses, {args.rows.members});
}

}  // namespace

int64_t cross_entropy_tile_rows(int64_t vocab, Device device) {
  constexpr int64_t kFewest = 8, kMost = 128, kElements = 1 << 22;
  constexpr int64_t kCudaElements = 1 << 24;
  const bool on_host = device == Device{};
  const int64_t rows = (on_host ? kElements : kCudaElements) /
                       std::max<int64_t>(vocab, 1) / 8 * 8;
  return std::max(kFewest, on_host ? std::min(rows, kMost) : rows);
}

void cross_entropy_forward(Context& ctx, const CrossEntropy& args,
                           Tensor& losses) {
  check(args, losses);
  const KernelScope scope(ctx);
  TIMEPIPE_KERNEL(ctx, cross_entropy, args, losses, nullptr, nullptr);
}

void cross_entropy_forward_backward(Context& ctx, const CrossEntropy& args,
                                    Tensor& losses, Tensor& dx,
                                    Tensor& dtable) {
  check(args, losses);
  require_wide("dx", dx, args.x, args.x.shape());
  require_wide("dtable", dtable, args.x, args.table.shape());
  const KernelScope scope(ctx);
  TIMEPIPE_KERNEL(ctx, cross_entropy, args, losses, &dx, &dtable);
}

void token_losses(Context& ctx, const Tensor& logits, const Tensor& targets,
                  Tensor& losses) {
  require_matrix("logits", logits);
  require_dtype("targets", targets, DType::kI64);
  require_shape("targets", targets, {logits.dim(0)});
  require_dtype("losses", losses, DType::kF64);
  require_shape("losses", losses, {logits.dim(0)});
  const KernelScope scope(ctx);
  TIMEPIPE_KERNEL(ctx, token_losses, logits, targets, losses);
}

}  // namespace timepipe
