// Launches look-ups in the embedding, and the sums of their gradients.

#include "kernels/embedding.h"

#include <utility>

#include "kernels/cuda/embedding.cuh"
#include "kernels/cuda/row_launch.h"
#include "runtime/transfer.h"

namespace timepipe::cuda {
namespace {

// The positions of `ids`, sorted by id (kernels/cuda/embedding.cuh).
Tensor sorted_keys(Context& ctx, const Tensor& ids) {
  const int64_t rows = ids.dim(0);
  Tensor keys = ctx.allocate({rows}, DType::kI64);
  Tensor merged = ctx.allocate({rows}, DType::kI64);
  launch<&embedding_sort_kernel>(
      ctx, (rows + kSortedKeys - 1) / kSortedKeys, kSortedKeys, rows,
      device_elements<int64_t>(ids), device_elements<int64_t>(keys));
  for (int64_t width = kSortedKeys; width < rows; width *= 2) {
    launch<&embedding_merge_kernel>(
        ctx, blocks_for(rows), kThreads, rows, width,
        device_elements<int64_t>(std::as_const(keys)),
        device_elements<int64_t>(merged));
    std::swap(keys, merged);
  }
  return keys;
}

}  // namespace

void embedding_forward(Context& ctx, const Tensor& ids, const Tensor& table,
                       Tensor& x) {
  dispatch(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    launch_rows<&embedding_forward_kernel<T>, kWarpRow>(
        ctx, x.dim(0), x.dim(1), device_elements<int64_t>(ids),
        device_elements<T>(table), device_elements<T>(x));
  });
}

void embedding_backward(Context& ctx, const Tensor& ids, const Tensor& dx,
                        Tensor& dtable, Write write) {
  if (write == Write::kOverwrite) clear(ctx, dtable);
  const int64_t rows = dx.dim(0), C = dx.dim(1);
  const Tensor keys = sorted_keys(ctx, ids);
  dispatch(dx.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const int64_t warps = rows * ((C + kWarpRow - 1) / kWarpRow);
    launch<&embedding_backward_kernel<T>>(
        ctx, (warps * kWarpRow + kThreads - 1) / kThreads, kThreads, rows, C,
        device_elements<int64_t>(keys), device_elements<T>(dx),
        device_elements<T>(dtable));
  });
}

}  // namespace timepipe::cuda
