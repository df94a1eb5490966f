#pragma once

#include "kernels/cuda/ttt_arguments.cuh"
#include "kernels/cuda/ttt_mini_batch.cuh"

namespace timepipe::cuda::ttt {

// One head's columns of token-major elements and its piece of flat states, of a
// member if those of several lie one after the other. Loads and stores have no
// barrier.
template <class T>
struct Head {
  TttShape shape;
  int64_t head, member = 0;

  // Rows of the mini-batch in x [T, H*D].
  template <class U>
  __device__ Matrix<U> rows(U* x, const Cut& cut) const {
    const int64_t D = shape.head_size, C = shape.heads * D;
    return {x + cut.row * C + head * D, cut.rows, static_cast<int>(D), C};
  }
  // Those of x [T, H*4D].
  template <class U>
  __device__ Matrix<U> hidden_rows(U* x, const Cut& cut) const {
    const int64_t F = 4 * shape.head_size, C = shape.heads * F;
    return {x + cut.row * C + head * F, cut.rows, static_cast<int>(F), C};
  }

  // The piece of the member's flat state of so many elements each, and that of
  // the i-th of several.
  template <class U>
  __device__ State<U> state(U* flat) const {
    return state(flat, member);
  }
  template <class U>
  __device__ State<U> state(U* flat, int64_t i) const {
    return state_of_head(shape, flat + i * state_size(), head);
  }
  __device__ int64_t state_size() const {
    const int64_t D = shape.head_size, F = hidden_size(shape);
    const bool is_mlp = shape.inner == InnerModel::kMlp;
    return shape.heads * (D * F + F + (is_mlp ? F * D + D : 0));
  }

  // f(i, j, x[i,j]) for this thread's elements of the rows of x.
  template <class F>
  __device__ void for_each(Activations<const T> x, const Cut& cut,
                           F&& f) const {
    if constexpr (std::is_same_v<T, float>) {
      if (x.narrow != nullptr) {
        const Matrix<const bf16> from = rows(x.narrow, cut);
        for_each_element(from,
                         [&](int i, int j) { f(i, j, widen(from.row(i)[j])); });
        return;
      }
    }
    const Matrix<const T> from = rows(x.wide, cut);
    for_each_element(from, [&](int i, int j) { f(i, j, from.row(i)[j]); });
  }

  __device__ void load(Activations<const T> x, const Cut& cut,
                       Matrix<T> to) const {
    for_each(x, cut, [=](int i, int j, T value) { to.row(i)[j] = value; });
  }

  // x[i,j] = f(i, j) for this thread's elements of the rows.
  template <class F>
  __device__ void store(F&& f, const Cut& cut, Activations<T> x) const {
    if constexpr (std::is_same_v<T, float>) {
      if (x.narrow != nullptr) {
        const Matrix<bf16> to = rows(x.narrow, cut);
        for_each_element(
            to, [&](int i, int j) { to.row(i)[j] = stored<bf16>(f(i, j)); });
        return;
      }
    }
    const Matrix<T> to = rows(x.wide, cut);
    for_each_element(to, [&](int i, int j) { to.row(i)[j] = f(i, j); });
  }

  // lr[i] = f(i) for this thread's rows of lr [T, H].
  template <class F>
  __device__ void store_rate(F&& f, const Cut& cut, T* lr) const {
    for (int i = static_cast<int>(threadIdx.x); i < cut.rows;
         i += static_cast<int>(blockDim.x)) {
      lr[(cut.row + i) * shape.heads + head] = f(i);
    }
  }

  // Copies the rows of one mini-batch together.
  __device__ void load(const Inputs<T>& args, const Cut& cut,
                       MiniBatch<T>& x) const {
    const Matrix<T> k = x.k, target = x.target;
    load(args.xq, cut, x.q);
    load(args.xk, cut, k);
    for_each(args.xv, cut,
             [=](int i, int j, T v) { target.row(i)[j] = v - k.row(i)[j]; });
    for (int i = static_cast<int>(threadIdx.x); i < cut.rows;
         i += static_cast<int>(blockDim.x)) {
      x.lr[i] = args.lr[(cut.row + i) * shape.heads + head];
    }
    if (threadIdx.x == 0) x.tok = args.tok;
  }
};

}  // namespace timepipe::cuda::ttt
