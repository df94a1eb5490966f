// Embedding on a device.

#include "kernels/cuda/embedding.cuh"
#include "kernels/cuda/reduce.cuh"

namespace timepipe::cuda {

template <class T>
__global__ void embedding_forward_kernel(int64_t rows, int64_t C,
                                         const int64_t* ids, const T* table,
                                         T* x) {
  const int64_t t = row_of_thread<kWarp>();
  if (t >= rows) return;
  const T* __restrict__ in = table + ids[t] * C;
  T* __restrict__ out = x + t * C;
  for (int64_t c = place_in_row<kWarp>(); c < C; c += kWarp) out[c] = in[c];
}

// Position t in the lower half, its id in the upper.
__device__ int64_t key_of(int64_t id, int64_t t) { return id << 32 | t; }
__device__ int64_t id_of(int64_t key) { return key >> 32; }
__device__ int64_t position_of(int64_t key) { return key & 0xffffffff; }

// A key's place is the number of smaller ones.
__global__ void embedding_sort_kernel(int64_t rows, const int64_t* ids,
                                      int64_t* keys) {
  TIMEPIPE_SHARED(int64_t, own, kSortedKeys);
  const int64_t begin = int64_t{blockIdx.x} * kSortedKeys;
  const int64_t t = begin + threadIdx.x;
  const int64_t left = rows - begin;
  const int count = static_cast<int>(left < kSortedKeys ? left : kSortedKeys);
  if (t < rows) own[threadIdx.x] = key_of(ids[t], t);
  __syncthreads();
  if (t >= rows) return;
  const int64_t key = own[threadIdx.x];
  int smaller = 0;
  for (int i = 0; i < count; ++i) smaller += own[i] < key;
  keys[begin + smaller] = key;
}

// The number of keys in a sorted piece that are smaller than `key`.
__device__ int64_t count_smaller(const int64_t* piece, int64_t size,
                                 int64_t key) {
  int64_t begin = 0, end = size;
  while (begin < end) {
    const int64_t middle = begin + (end - begin) / 2;
    if (piece[middle] < key) {
      begin = middle + 1;
    } else {
      end = middle;
    }
  }
  return begin;
}

// A key moves to its place among its own piece and the piece beside it.
__global__ void embedding_merge_kernel(int64_t rows, int64_t width,
                                       const int64_t* from, int64_t* to) {
  for (int64_t i = global_thread(); i < rows; i += global_threads()) {
    const int64_t piece = i / width, beside = (piece ^ 1) * width;
    const int64_t left = rows - beside;
    const int64_t size = left < 0 ? 0 : left < width ? left : width;
    const int64_t key = from[i];
    to[piece / 2 * 2 * width + i % width +
       count_smaller(from + beside, size, key)] = key;
  }
}

// A warp for each key and 32 columns; that of the first key of an id adds all
// of its rows.
template <class T>
__global__ void embedding_backward_kernel(int64_t rows, int64_t C,
                                          const int64_t* keys, const T* dx,
                                          T* dtable) {
  constexpr int kAhead = 8;  // rows that are on their way at once
  const int64_t tiles = (C + kWarp - 1) / kWarp;
  const int64_t warp = row_of_thread<kWarp>();
  const int64_t first = warp / tiles;
  const int64_t c = warp % tiles * kWarp + place_in_row<kWarp>();
  if (first >= rows || c >= C) return;
  const int64_t id = id_of(keys[first]);
  if (first > 0 && id_of(keys[first - 1]) == id) return;
  T sum = dtable[id * C + c];
  int64_t i = first;
  for (bool all = true; all; i += kAhead) {
    T more[kAhead];
    bool same[kAhead];
    TIMEPIPE_UNROLL
    for (int k = 0; k < kAhead; ++k) {
      same[k] = i + k < rows && id_of(keys[i + k]) == id;
      more[k] = same[k] ? dx[position_of(keys[i + k]) * C + c] : T(0);
    }
    TIMEPIPE_UNROLL
    for (int k = 0; k < kAhead; ++k) {
      if (same[k]) sum += more[k];
    }
    all = same[kAhead - 1];
  }
  dtable[id * C + c] = sum;
}

template __global__ void embedding_forward_kernel<float>(int64_t, int64_t,
                                                         const int64_t*,
                                                         const float*, float*);
template __global__ void embedding_forward_kernel<double>(int64_t, int64_t,
                                                          const int64_t*,
                                                          const double*,
                                                          double*);
template __global__ void embedding_backward_kernel<float>(int64_t, int64_t,
                                                          const int64_t*,
                                                          const float*, float*);
template __global__ void embedding_backward_kernel<double>(int64_t, int64_t,
                                                           const int64_t*,
                                                           const double*,
                                                           double*);

}  // namespace timepipe::cuda
