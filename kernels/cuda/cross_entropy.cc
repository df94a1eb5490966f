// Output embedding and loss, in tiles of rows, so that all logits never exist
// at once. Nothing of it is waited for.

#include "kernels/cross_entropy.h"

#include <algorithm>

#include "kernels/cuda/cross_entropy.cuh"
#include "kernels/cuda/row_launch.h"
#include "runtime/transfer.h"

namespace timepipe::cuda {
namespace {

static_assert(kNoTarget == kIgnoredTarget);

constexpr int kWideRow = 1024;

// Of all rows of `logits`.
void row_losses(Context& ctx, const Tensor& logits, const Tensor& targets,
                Tensor& losses) {
  const int64_t rows = logits.dim(0), vocab = logits.dim(1);
  dispatch(logits.dtype(), [&](auto zero) {
    using T = decltype(zero);
    dispatch_row<kWideRow>(vocab, [&](auto row) {
      constexpr int kRow = row();
      launch_rows<&row_losses_kernel<kRow, T>, kRow>(
          ctx, rows, vocab, device_elements<T>(logits),
          device_elements<int64_t>(targets), device_elements<double>(losses));
    });
  });
}

// The same of rows [first, first + logits.dim(0)) of a chunk, and their
// gradients, which may lie where the logits are.
void row_gradients(Context& ctx, const CrossEntropy& args, int64_t first,
                   const Tensor& logits, Tensor& losses, Tensor& gradients) {
  const int64_t rows = logits.dim(0), vocab = logits.dim(1);
  const Tensor targets = args.targets.slice(first, first + rows);
  dispatch_stored(gradients.dtype(), [&](auto zero) {
    using A = decltype(zero);
    dispatch_row<kWideRow>(vocab, [&](auto row) {
      constexpr int kRow = row();
      launch_rows<&row_gradients_kernel<kRow, A>, kRow>(
          ctx, rows, vocab, device_elements<Wide<A>>(logits),
          device_elements<int64_t>(targets),
          device_elements<double>(args.scales), first, args.rows.stride,
          device_elements<double>(losses), device_elements<A>(gradients));
    });
  });
}

}  // namespace

void cross_entropy(Context& ctx, const CrossEntropy& args, Tensor& losses,
                   Tensor* dx, Tensor* dtable) {
  const int64_t rows = args.x.dim(0), vocab = args.table.dim(0);
  const DType dtype = args.x.dtype();
  const int64_t tile_rows =
      std::min(rows, cross_entropy_tile_rows(vocab, ctx.device()));
  const Tensor memory = ctx.allocate({tile_rows, vocab}, wide(dtype));
  const Tensor dmemory = dx == nullptr || dtype == wide(dtype)
                             ? memory
                             : ctx.allocate({tile_rows, vocab}, dtype);
  const Tensor all_losses = ctx.allocate({rows}, DType::kF64);
  if (dtable != nullptr && rows == 0) clear(ctx, *dtable);
  for (int64_t row = 0; row < rows; row += tile_rows) {
    const int64_t end = std::min(row + tile_rows, rows);
    const Tensor x = args.x.slice(row, end);
    Tensor logits = memory.slice(0, end - row);
    Tensor tile_losses = all_losses.slice(row, end);
    cuda::matmul(ctx, Form::kNT, x, args.table, logits, Write::kOverwrite);
    if (args.sink) args.sink(row, logits);
    if (dx == nullptr) {
      row_losses(ctx, logits, args.targets.slice(row, end), tile_losses);
      continue;
    }
    Tensor dlogits = dmemory.slice(0, end - row), dx_rows = dx->slice(row, end);
    row_gradients(ctx, args, row, logits, tile_losses, dlogits);
    cuda::matmul(ctx, Form::kNN, dlogits, args.table, dx_rows,
                 Write::kOverwrite);
    cuda::matmul(ctx, Form::kTN, dlogits, x, *dtable,
                 row == 0 ? Write::kOverwrite : Write::kAdd);
  }
  launch<&member_losses_kernel>(
      ctx, args.rows.members, kLossPieces, args.rows.tokens, args.rows.stride,
      device_elements<double>(all_losses), device_elements<double>(args.scales),
      device_elements<double>(losses));
}

void token_losses(Context& ctx, const Tensor& logits, const Tensor& targets,
                  Tensor& losses) {
  row_losses(ctx, logits, targets, losses);
}

}  // namespace timepipe::cuda
