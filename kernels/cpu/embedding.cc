// Looks up rows of the embedding on host memory, and adds up their gradients.

#include "kernels/embedding.h"

#include <algorithm>

#include "kernels/cpu/cpu_kernels.h"
#include "runtime/parallel_for.h"

namespace timepipe::cpu {

void embedding_forward(Context&, const Tensor& ids, const Tensor& table,
                       Tensor& x) {
  dispatch(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const int64_t C = x.dim(1);
    const int64_t* id = elements<int64_t>(ids);
    const T* in = elements<T>(table);
    T* out = elements<T>(x);
    parallel_for(x.dim(0), [&](int64_t t) {
      std::copy_n(in + id[t] * C, C, out + t * C);
    });
  });
}

// Threads share the columns: each adds all rows of its own, in order.
void embedding_backward(Context&, const Tensor& ids, const Tensor& dx,
                        Tensor& dtable, Write write) {
  dispatch(dx.dtype(), [&](auto zero) {
    using T = decltype(zero);
    constexpr int64_t kColumns = 64, kElements = 1 << 16;
    const int64_t rows = dx.dim(0), C = dx.dim(1);
    const int64_t* id = elements<int64_t>(ids);
    const T* in = elements<T>(dx);
    T* out = elements<T>(dtable);
    if (write == Write::kOverwrite) {
      parallel_pieces(dtable.numel(), kElements, [&](int64_t i, int64_t end) {
        std::fill(out + i, out + end, T(0));
      });
    }
    parallel_pieces(C, kColumns, [&](int64_t begin, int64_t end) {
      for (int64_t t = 0; t < rows; ++t) {
        for (int64_t c = begin; c < end; ++c) {
          out[id[t] * C + c] += in[t * C + c];
        }
      }
    });
  });
}

}  // namespace timepipe::cpu
