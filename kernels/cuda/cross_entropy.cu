// Softmax and loss on a device. A wide row's block is as large as blocks can
// be: few rows are under way at once, so that a row lies in the cache when it
// is read again.

#include "kernels/cuda/cross_entropy.cuh"
#include "kernels/cuda/reduce.cuh"

namespace timepipe::cuda {

// Threads of a block that has one row or, of a warp each, several.
template <int kRow>
inline constexpr int kRowBlock = kRow == kWarp ? 256 : kRow;

template <class T>
struct Softmax {
  T top;       // the largest logit
  double sum;  // of exp(z - top)
};

// NaN is passed over in the first sum: it shows in the second.
template <int kRow, class T>
__device__ Softmax<T> softmax_of(int64_t vocab, const T* z) {
  const int first = place_in_row<kRow>();
  T top = -INFINITY;
  for (int64_t v = first; v < vocab; v += kRow) top = fmax(top, z[v]);
  top = row_max<kRow>(top);
  double sum = 0;
  for (int64_t v = first; v < vocab; v += kRow) {
    sum += static_cast<double>(exp(z[v] - top));
  }
  return {top, row_sum<kRow>(sum)};
}

template <class T>
__device__ double loss_of(const Softmax<T>& row, T at_target) {
  return log(row.sum) +
         (static_cast<double>(row.top) - static_cast<double>(at_target));
}

template <int kRow, class T>
__global__ void __launch_bounds__(kRowBlock<kRow>)
    row_losses_kernel(int64_t rows, int64_t vocab, const T* z,
                      const int64_t* targets, double* losses) {
  const int64_t r = row_of_thread<kRow>();
  const bool leads = place_in_row<kRow>() == 0;
  if (r >= rows) return;
  const int64_t target = targets[r];
  if (target == kNoTarget) {
    if (leads) losses[r] = 0;
    return;
  }
  const T* row = z + r * vocab;
  const Softmax<T> softmax = softmax_of<kRow>(vocab, row);
  if (leads) losses[r] = loss_of(softmax, row[target]);
}

template <int kRow, class A>
__global__ void __launch_bounds__(kRowBlock<kRow>)
    row_gradients_kernel(int64_t rows, int64_t vocab, const Computed<A>* z,
                         const int64_t* targets, const double* scales,
                         int64_t first_row, int64_t stride, double* losses,
                         A* dz) {
  using T = Computed<A>;
  const int64_t r = row_of_thread<kRow>();
  const int first = place_in_row<kRow>();
  if (r >= rows) return;
  const int64_t target = targets[r];
  A* out = dz + r * vocab;
  if (target == kNoTarget) {
    for (int64_t v = first; v < vocab; v += kRow) out[v] = stored<A>(T(0));
    if (first == 0) losses[r] = 0;
    return;
  }
  const T* row = z + r * vocab;
  const Softmax<T> softmax = softmax_of<kRow>(vocab, row);
  const double scale = scales[(first_row + r) / stride];
  const T factor = static_cast<T>(scale / softmax.sum);
  for (int64_t v = first; v < vocab; v += kRow) {
    const T logit = row[v];
    T gradient = exp(logit - softmax.top) * factor;
    if (v == target) {
      gradient -= static_cast<T>(scale);
      losses[r] = loss_of(softmax, logit);
    }
    out[v] = stored<A>(gradient);
  }
}

__global__ void member_losses_kernel(int64_t tokens, int64_t stride,
                                     const double* losses, const double* scales,
                                     double* sums) {
  TIMEPIPE_SHARED(double, pieces, kLossPieces);
  const int64_t member = blockIdx.x;
  const int64_t length = (tokens + kLossPieces - 1) / kLossPieces;
  const int64_t begin = threadIdx.x * length;
  double sum = 0;
  for (int64_t t = begin; t < begin + length && t < tokens; ++t) {
    sum += losses[member * stride + t];
  }
  pieces[threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.x > 0) return;
  for (int k = 1; k < kLossPieces; ++k) sum += pieces[k];
  sums[member] = sum * scales[member];
}

#define TIMEPIPE_INSTANTIATE(kRow, T)                  \
  template __global__ void row_losses_kernel<kRow, T>( \
      int64_t, int64_t, const T*, const int64_t*, double*)
TIMEPIPE_INSTANTIATE(32, float);
TIMEPIPE_INSTANTIATE(32, double);
TIMEPIPE_INSTANTIATE(1024, float);
TIMEPIPE_INSTANTIATE(1024, double);
#undef TIMEPIPE_INSTANTIATE

#define TIMEPIPE_INSTANTIATE(kRow, A)                                      \
  template __global__ void row_gradients_kernel<kRow, A>(                  \
      int64_t, int64_t, const Computed<A>*, const int64_t*, const double*, \
      int64_t, int64_t, double*, A*)
TIMEPIPE_INSTANTIATE(32, float);
TIMEPIPE_INSTANTIATE(32, double);
TIMEPIPE_INSTANTIATE(32, bf16);
TIMEPIPE_INSTANTIATE(1024, float);
TIMEPIPE_INSTANTIATE(1024, double);
TIMEPIPE_INSTANTIATE(1024, bf16);
#undef TIMEPIPE_INSTANTIATE

}  // namespace timepipe::cuda
