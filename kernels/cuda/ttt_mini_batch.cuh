#pragma once

#include "kernels/cuda/ttt_arguments.cuh"
#include "kernels/cuda/ttt_small_products.cuh"

namespace timepipe::cuda::ttt {

// Hands out matrices from one block, each at a multiple of 16 elements. Without
// a block it only adds up the sizes; a copy hands out the same block again.
template <class T>
class Arena {
 public:
  __host__ __device__ explicit Arena(T* block = nullptr) : block_(block) {}

  // Rows lie an odd number of elements apart: in shared memory, threads that
  // read a column then read from different banks.
  __host__ __device__ Matrix<T> take(int rows, int cols) {
    const int64_t stride = cols | 1;
    T* data = block_ == nullptr ? nullptr : block_ + size_;
    size_ += (rows * stride + 15) / 16 * 16;
    return {data, rows, cols, stride};
  }
  __host__ __device__ T* take(int n) { return take(1, n).data; }

  __host__ __device__ int64_t size() const { return size_; }  // elements

 private:
  T* block_;
  int64_t size_ = 0;
};

// An object that the threads of a block share, made by one of them from the
// arguments: kept in `memory` of the block, it takes no thread's registers.
template <class S, class... Args>
__device__ S& make_shared_object(double* memory, Args&&... args) {
  S& object = *reinterpret_cast<S*>(memory);
  __syncthreads();  // nobody uses what lies there
  if (threadIdx.x == 0) object = S(args...);
  __syncthreads();
  return object;
}
// The doubles that it takes.
template <class S>
inline constexpr int kSharedDoubles =
    static_cast<int>((sizeof(S) + sizeof(double) - 1) / sizeof(double));

// A sum for each row over its columns, in lanes (kLanes).
template <class T>
struct RowSums {
  T* lanes = nullptr;  // [rows, kLanes]

  __device__ T operator[](int i) const {
    const T* x = lanes + i * kLanes;
    return ((x[0] + x[1]) + (x[2] + x[3])) + ((x[4] + x[5]) + (x[6] + x[7]));
  }
  __device__ T& of(int i, int lane) const { return lanes[i * kLanes + lane]; }
};

// From an arena of another type if need be.
template <class S, class T>
__host__ __device__ RowSums<S> take_sums(Arena<T>& arena, int rows) {
  const auto size = static_cast<int>(sizeof(S) / sizeof(T));
  return {reinterpret_cast<S*>(arena.take(rows * kLanes * size))};
}

// f(i, lane) for this thread's lanes of so many rows.
template <class F>
__device__ void for_each_lane(int rows, F&& f) {
  for (int n = static_cast<int>(threadIdx.x); n < rows * kLanes;
       n += static_cast<int>(blockDim.x)) {
    f(n / kLanes, n % kLanes);
  }
}

// Sum of f(j) over the lane's columns j of n, in S.
template <class S, class F>
__device__ S lane_sum(int n, int lane, F&& f) {
  S sum = 0;
  for (int j = lane; j < n; j += kLanes) sum += f(j);
  return sum;
}

// In f64: the gradients of lr and tok are sums that cancel.
template <class X, class Y>
__device__ double lane_dot(int n, int lane, const X* x, const Y* y) {
  return lane_sum<double>(n, lane, [=](int j) {
    return static_cast<double>(x[j]) * static_cast<double>(y[j]);
  });
}

template <class From, class T>
TIMEPIPE_NOINLINE __device__ void copy(Matrix<From> from, Matrix<T> to) {
  for_each_element(to, [&](int i, int j) { to.row(i)[j] = from.row(i)[j]; });
}

template <class T>
TIMEPIPE_NOINLINE __device__ void fill(Matrix<T> m,
                                       std::type_identity_t<T> value) {
  for_each_element(m, [&](int i, int j) { m.row(i)[j] = value; });
}

// One layer x W + b of the inner model: w [m,n], b [1,n].
template <class T>
struct Layer {
  Matrix<T> w, b;
};

// State of one head; kLinear has no second layer.
template <class T>
struct State {
  Layer<T> first, second;
};

// Width of the inner model's first layer.
__host__ __device__ inline int hidden_size(const TttShape& shape) {
  const auto D = static_cast<int>(shape.head_size);
  return shape.inner == InnerModel::kMlp ? 4 * D : D;
}

// A state whose matrices come from take(rows, cols), in the flat state's order.
template <class T, class Take>
__host__ __device__ State<T> make_state(const TttShape& shape, Take&& take) {
  const int D = static_cast<int>(shape.head_size), F = hidden_size(shape);
  State<T> state;
  state.first.w = take(D, F);
  state.first.b = take(1, F);
  if (shape.inner == InnerModel::kMlp) {
    state.second.w = take(F, D);
    state.second.b = take(1, D);
  }
  return state;
}

template <class T>
__host__ __device__ State<T> take_state(Arena<T>& arena,
                                        const TttShape& shape) {
  return make_state<T>(
      shape, [&](int rows, int cols) { return arena.take(rows, cols); });
}

// The piece of `head` in a flat state of all heads.
template <class T>
__host__ __device__ State<T> state_of_head(const TttShape& shape, T* flat,
                                           int64_t head) {
  return make_state<T>(shape, [&](int rows, int cols) {
    const int64_t size = int64_t{rows} * cols;
    const Matrix<T> m{flat + head * size, rows, cols, cols};
    flat += shape.heads * size;
    return m;
  });
}

// f(a, b) for the pairs of matrices of two states.
template <class A, class B, class F>
__device__ void for_each_matrix(const State<A>& a, const State<B>& b, F&& f) {
  f(a.first.w, b.first.w);
  f(a.first.b, b.first.b);
  f(a.second.w, b.second.w);
  f(a.second.b, b.second.b);
}

template <class From, class T>
__device__ void copy(const State<From>& from, const State<T>& to) {
  for_each_matrix(from, to, [](auto x, auto y) { copy(x, y); });
}

template <class T>
__device__ void fill(const State<T>& state, std::type_identity_t<T> value) {
  for_each_matrix(state, state, [=](auto, auto m) { fill(m, value); });
}

// to += alpha * from
template <class T>
__device__ void add_scaled(T alpha, const State<T>& from, const State<T>& to) {
  for_each_matrix(from, to, [=](auto x, auto y) {
    for_each_element(y,
                     [&](int i, int j) { y.row(i)[j] += alpha * x.row(i)[j]; });
  });
}

// What the inner model sees of a mini-batch of r rows.
template <class T>
struct MiniBatch {
  Matrix<T> q, k, target;  // [r,D], target = v - k
  T* lr = nullptr;         // [r]
  const T* tok = nullptr;  // of these rows
  State<T> sum;  // sum of lr * gradient of the mini-batch's tokens before these
                 // rows; empty: there are none

  MiniBatch() = default;
  __host__ __device__ MiniBatch(Arena<T>& arena, int r, int D)
      : q(arena.take(r, D)),
        k(arena.take(r, D)),
        target(arena.take(r, D)),
        lr(arena.take(r)) {}

  __device__ int rows() const { return k.rows; }
  __device__ T tok_last() const { return tok[rows() - 1]; }
};

}  // namespace timepipe::cuda::ttt
