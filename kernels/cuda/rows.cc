// Moves rows and elements on a device.

#include "kernels/rows.h"

#include "kernels/cuda/launch.h"
#include "kernels/cuda/rows.cuh"

namespace timepipe::cuda {
namespace {

MemberRows members_of(const ChunkRows& rows, const Tensor& halos) {
  return {rows.members, rows.tokens, rows.stride, halos.dim(0) / rows.members,
          halos.dim(1)};
}

}  // namespace

void push_rows(Context& ctx, const Tensor& x, const ChunkRows& rows,
               Tensor& halos) {
  if (halos.empty()) return;
  const MemberRows members = members_of(rows, halos);
  const int64_t columns = members.members * members.C;
  dispatch_stored(x.dtype(), [&](auto zero) {
    using A = decltype(zero);
    launch<&push_rows_kernel<A>>(ctx, (columns + kThreads - 1) / kThreads,
                                 kThreads, members, device_elements<A>(x),
                                 device_elements<Wide<A>>(halos));
  });
}

void push_rows_backward(Context& ctx, const Tensor& dhalos,
                        const ChunkRows& rows, Tensor& dx) {
  dispatch(dx.dtype(), [&](auto zero) {
    using T = decltype(zero);
    launch<&push_rows_backward_kernel<T>>(
        ctx, blocks_for(dhalos.numel()), kThreads, members_of(rows, dhalos),
        device_elements<T>(dhalos), device_elements<T>(dx));
  });
}

void take_elements(Context& ctx, const Tensor& from, const Tensor& index,
                   Tensor& to) {
  dispatch(from.dtype(), [&](auto zero) {
    using T = decltype(zero);
    launch<&take_elements_kernel<T>>(
        ctx, blocks_for(index.numel()), kThreads, device_elements<T>(from),
        device_elements<int64_t>(index), index.numel(), device_elements<T>(to));
  });
}

}  // namespace timepipe::cuda
