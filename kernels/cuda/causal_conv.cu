// Depthwise causal convolution: kernels/causal_conv.h.

#include "kernels/cuda/causal_conv.cuh"
#include "kernels/cuda/column_sums.cuh"

namespace timepipe::cuda {
namespace {

// What a row of the block's tile is to a thread.
struct Tile {
  int64_t column, row;

  __device__ explicit Tile(int64_t C) {
    const int64_t across = (C + kConvColumns - 1) / kConvColumns;
    column = blockIdx.x % across * kConvColumns + lane();
    row = blockIdx.x / across * kConvRows + threadIdx.x / kConvColumns;
  }
  __device__ static int lane() {
    return static_cast<int>(threadIdx.x % kConvColumns);
  }

  // Calls f with each row of this thread, of so many.
  template <class F>
  __device__ void for_rows(int64_t rows, F f) const {
    for (int i = 0; i < kConvRows && row + i < rows; i += kConvGroups) {
      f(row + i);
    }
  }
};

// The weights of the block's columns, one tap's side by side.
template <class T>
__device__ void load_taps(const Tile& tile, const T* w, int64_t C, int64_t k,
                          T* taps) {
  for (int64_t j = threadIdx.x / kConvColumns; j < k; j += kConvGroups) {
    if (tile.column < C) {
      taps[j * kConvColumns + Tile::lane()] = w[tile.column * k + j];
    }
  }
  __syncthreads();
}

// First row that windows of the segment may read; before its own: in the halo.
__device__ int64_t first_row(const Segment& s, int64_t k) {
  return s.row - (s.context < k - 1 ? s.context : k - 1);
}

// An element of row t of the segment, or of one of the k-1 rows before.
template <class A>
__device__ Computed<A> element(const ConvRows<A>& x, const Segment& s,
                               int64_t t, int64_t c) {
  if (t >= s.row) return widen(x.chunk[t * x.C + c]);
  const int64_t in_halo = t - s.row + x.k - 1;
  return x.halos[(s.member * (x.k - 1) + in_halo) * x.C + c];
}

}  // namespace

template <class A>
__global__ void causal_conv_forward_kernel(ConvRows<A> x, const Computed<A>* w,
                                           const Computed<A>* bias, A* y) {
  using T = Computed<A>;
  TIMEPIPE_DYNAMIC_SHARED(T, taps);
  const Tile tile(x.C);
  load_taps(tile, w, x.C, x.k, taps);
  const int64_t c = tile.column;
  if (c >= x.C) return;
  tile.for_rows(x.rows, [&](int64_t t) {
    const Segment* segment = x.segments.of_row(t);
    T sum = 0;
    if (segment != nullptr) {
      const int64_t first = first_row(*segment, x.k);
      sum = bias[c];
      for (int64_t j = 0; j < x.k; ++j) {
        const int64_t read = t - x.k + 1 + j;
        if (read < first) continue;
        sum += taps[j * kConvColumns + Tile::lane()] *
               element(x, *segment, read, c);
      }
    }
    y[t * x.C + c] = stored<A>(sum);
  });
}

// Row s of dx is the sum over taps j of w_j times row s+k-1-j of dy. The rows
// of the grid are those of the halos, then those of the chunk.
template <class A>
__global__ void causal_conv_backward_x_kernel(ConvRows<A> dy,
                                              const Computed<A>* w,
                                              ConvGradients<Computed<A>> dx) {
  using T = Computed<A>;
  TIMEPIPE_DYNAMIC_SHARED(T, taps);
  const int64_t k = dy.k, C = dy.C;
  const Tile tile(C);
  load_taps(tile, w, C, k, taps);
  const int64_t c = tile.column;
  if (c >= C) return;
  tile.for_rows(dx.halo_rows + dy.rows, [&](int64_t row) {
    const bool in_halo = row < dx.halo_rows;
    int64_t s = row - dx.halo_rows;
    const Segment* segment =
        in_halo ? dy.segments.of_member(row / (k - 1)) : dy.segments.of_row(s);
    if (in_halo && segment != nullptr) {
      s = segment->row - (k - 1) + row % (k - 1);
      if (s < first_row(*segment, k)) segment = nullptr;
    }
    T& out = in_halo ? dx.halos[row * C + c]
                     : dx.chunk[(row - dx.halo_rows) * C + c];
    T sum = dx.adds ? out : T(0);
    for (int64_t j = 0; j < k && segment != nullptr; ++j) {
      const int64_t t = s + k - 1 - j;
      if (t < segment->row || t >= segment->row + segment->rows) continue;
      sum += taps[j * kConvColumns + Tile::lane()] * widen(dy.chunk[t * C + c]);
    }
    out = sum;
  });
}

template <class A>
__global__ void causal_conv_partials_kernel(ConvRows<A> x, const A* dy,
                                            double* dw, double* dbias) {
  TIMEPIPE_SHARED(const Segment*, segments, kPartialRows);
  const int64_t C = x.C, k = x.k;
  const int64_t across = (C + kConvSumThreads - 1) / kConvSumThreads;
  const int64_t g = blockIdx.x / across, begin = g * kPartialRows;
  const int64_t left = x.rows - begin;
  const int64_t rows = left < kPartialRows ? left : kPartialRows;
  if (threadIdx.x < rows) {
    segments[threadIdx.x] = x.segments.of_row(begin + threadIdx.x);
  }
  __syncthreads();
  const int64_t c = blockIdx.x % across * kConvSumThreads + threadIdx.x;
  if (c >= C) return;
  double bias = 0;
  for (int64_t i = 0; i < rows; ++i) {
    if (segments[i] != nullptr) bias += widen(dy[(begin + i) * C + c]);
  }
  dbias[g * C + c] = bias;
  for (int64_t j = 0; j < k; ++j) {
    const int64_t delay = k - 1 - j;  // row t of dy meets row t - delay of x
    double sum = 0;
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t t = begin + i;
      if (segments[i] == nullptr || t - delay < first_row(*segments[i], k)) {
        continue;
      }
      sum += static_cast<double>(widen(dy[t * C + c])) *
             element(x, *segments[i], t - delay, c);
    }
    dw[(g * C + c) * k + j] = sum;
  }
}

#define TIMEPIPE_STORED(A)                                                    \
  template __global__ void causal_conv_forward_kernel(                        \
      ConvRows<A>, const Computed<A>*, const Computed<A>*, A*);               \
  template __global__ void causal_conv_backward_x_kernel(                     \
      ConvRows<A>, const Computed<A>*, ConvGradients<Computed<A>>);           \
  template __global__ void causal_conv_partials_kernel(ConvRows<A>, const A*, \
                                                       double*, double*)
TIMEPIPE_STORED(float);
TIMEPIPE_STORED(double);
TIMEPIPE_STORED(bf16);

}  // namespace timepipe::cuda
