// Moves rows and elements on host memory.

#include "kernels/rows.h"

#include <algorithm>

#include "kernels/cpu/cpu_kernels.h"

namespace timepipe::cpu {

namespace {

// The last n rows of a member.
Tensor last_rows(const Tensor& x, const ChunkRows& rows, int64_t member,
                 int64_t n) {
  const int64_t end = member * rows.stride + rows.tokens;
  return x.slice(end - n, end);
}

Tensor halo_of(const Tensor& halos, const ChunkRows& rows, int64_t member) {
  const int64_t n = halos.dim(0) / rows.members;
  return halos.slice(member * n, (member + 1) * n);
}

}  // namespace

void push_rows(Context&, const Tensor& x, const ChunkRows& rows,
               Tensor& halos) {
  dispatch_stored(x.dtype(), [&](auto zero) {
    using A = decltype(zero);
    for (int64_t member = 0; member < rows.members; ++member) {
      Tensor halo = halo_of(halos, rows, member);
      const int64_t taken = std::min(rows.tokens, halo.dim(0));
      const Tensor last = last_rows(x, rows, member, taken);
      auto* to = elements<Wide<A>>(halo);
      const auto kept = std::copy(to + last.numel(), to + halo.numel(), to);
      std::copy_n(elements<A>(last), last.numel(), kept);
    }
  });
}

void push_rows_backward(Context& ctx, const Tensor& dhalos,
                        const ChunkRows& rows, Tensor& dx) {
  for (int64_t member = 0; member < rows.members; ++member) {
    const Tensor dhalo = halo_of(dhalos, rows, member);
    Tensor last = last_rows(dx, rows, member, dhalo.dim(0));
    cpu::add(ctx, dhalo, last);
  }
}

void take_elements(Context&, const Tensor& from, const Tensor& index,
                   Tensor& to) {
  dispatch(from.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const T* in = elements<T>(from);
    const int64_t* at = elements<int64_t>(index);
    T* out = elements<T>(to);
    for (int64_t i = 0; i < index.numel(); ++i) out[i] = in[at[i]];
  });
}

}  // namespace timepipe::cpu
