// Moves rows and elements on host memory.

#include "kernels/rows.h"

#include <algorithm>
#include <cstring>

#include "kernels/cpu/cpu_kernels.h"

namespace timepipe::cpu {

void push_rows(Context&, const Tensor& x, Tensor& halo) {
  const int64_t taken = std::min(x.dim(0), halo.dim(0));
  const Tensor last = x.slice(x.dim(0) - taken, x.dim(0));
  const ConstBytes from = element_bytes(last);
  const Bytes to = element_bytes(halo);
  const std::size_t kept = to.size() - from.size();
  std::memmove(to.data(), to.data() + from.size(), kept);
  std::memcpy(to.data() + kept, from.data(), from.size());
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
