#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/cpu/small_products.h"
#include "kernels/ttt_scan.h"

namespace timepipe::cpu::ttt {

// Hands out matrices from one block, each at a multiple of 64 bytes. Without a
// block it only adds up the sizes; a copy hands out the same block again.
template <class T>
class Arena {
 public:
  explicit Arena(T* block = nullptr) : block_(block) {}

  Matrix<T> take(int64_t rows, int64_t cols) {
    T* data = block_ == nullptr ? nullptr : block_ + size_;
    size_ += (rows * cols + 15) / 16 * 16;
    return {data, rows, cols, cols};
  }
  T* take(int64_t n) { return take(1, n).data; }

  int64_t size() const { return size_; }  // elements

 private:
  T* block_;
  int64_t size_ = 0;
};

template <class From, class T>
void copy(Matrix<From> from, Matrix<T> to) {
  for (int64_t i = 0; i < to.rows; ++i) {
    std::copy_n(from.row(i), to.cols, to.row(i));
  }
}

inline void round(Matrix<float> from, Matrix<bf16> to) {
  for (int64_t i = 0; i < to.rows; ++i) {
    for (int64_t j = 0; j < to.cols; ++j) {
      to.row(i)[j] = static_cast<bf16>(from.row(i)[j]);
    }
  }
}

template <class T>
void fill(Matrix<T> m, T value) {
  for (int64_t i = 0; i < m.rows; ++i) std::fill_n(m.row(i), m.cols, value);
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
inline int64_t hidden_size(const TttShape& shape) {
  return shape.inner == InnerModel::kMlp ? 4 * shape.head_size
                                         : shape.head_size;
}

// A state whose matrices come from take(rows, cols), in the flat state's order.
template <class T, class Take>
State<T> make_state(const TttShape& shape, Take&& take) {
  const int64_t D = shape.head_size, F = hidden_size(shape);
  State<T> state;
  state.first.w = take(D, F);
  state.first.b = take(1, F);
  if (shape.inner == InnerModel::kMlp) {
    state.second.w = take(F, D);
    state.second.b = take(1, D);
  }
  return state;
}

// The piece of `head` in a flat state of all heads.
template <class T>
State<T> state_of_head(const TttShape& shape, T* flat, int64_t head) {
  return make_state<T>(shape, [&](int64_t rows, int64_t cols) {
    const Matrix<T> m{flat + head * rows * cols, rows, cols, cols};
    flat += shape.heads * rows * cols;
    return m;
  });
}

template <class From, class T>
void copy(const State<From>& from, const State<T>& to) {
  copy(from.first.w, to.first.w);
  copy(from.first.b, to.first.b);
  copy(from.second.w, to.second.w);
  copy(from.second.b, to.second.b);
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
  MiniBatch(Arena<T>& arena, int64_t r, int64_t D)
      : q(arena.take(r, D)),
        k(arena.take(r, D)),
        target(arena.take(r, D)),
        lr(arena.take(r)) {}

  int64_t rows() const { return k.rows; }
  T tok_last() const { return tok[rows() - 1]; }
};

}  // namespace timepipe::cpu::ttt
