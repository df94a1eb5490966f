#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

#include "kernels/cpu/ttt_mini_batch.h"
#include "runtime/elements.h"

namespace timepipe::cpu::ttt {

// Where a mini-batch lies in the chunk.
struct Cut {
  int64_t row, rows;
  bool resets;  // the state restarts before it
};

// Zeros in the rows of [T, ...] outside every segment.
inline void clear_padding(Segments segments, Tensor& tensor) {
  for_padding(segments, tensor.dim(0), [&](int64_t begin, int64_t end) {
    Tensor rows = tensor.slice(begin, end);
    std::ranges::fill(element_bytes(rows), std::byte{0});
  });
}

// One head's columns of token-major tensors and its piece of flat states, of a
// member if those of several lie one after the other.
template <class T>
struct Head {
  const TttShape& shape;
  int64_t head, member = 0;

  // Rows of the mini-batch in x [T, H*D].
  Matrix<const T> rows(const Tensor& x, const Cut& cut) const {
    return rows_at(elements<T>(x), cut);
  }
  Matrix<T> rows(Tensor& x, const Cut& cut) const {
    return rows_at(elements<T>(x), cut);
  }
  State<const T> state(const Tensor& flat) const { return state(flat, member); }
  State<T> state(Tensor& flat) const { return state(flat, member); }
  // The piece of the i-th of several flat states.
  State<const T> state(const Tensor& flat, int64_t i) const {
    return state_of_head(shape, elements<T>(flat) + i * shape.state_size(),
                         head);
  }
  State<T> state(Tensor& flat, int64_t i) const {
    return state_of_head(shape, elements<T>(flat) + i * shape.state_size(),
                         head);
  }

  // Rows of x, which may be bf16, and back.
  void load(const Tensor& x, const Cut& cut, Matrix<T> to) const {
    if (x.dtype() != DType::kBF16) return copy(rows(x, cut), to);
    if constexpr (std::is_same_v<T, float>) {
      copy(rows_at(elements<bf16>(x), cut), to);
    }
  }
  void store(Matrix<T> from, const Cut& cut, Tensor& x) const {
    if (x.dtype() != DType::kBF16) return copy(from, rows(x, cut));
    if constexpr (std::is_same_v<T, float>) {
      round(from, rows_at(elements<bf16>(x), cut));
    }
  }

  // Copies the rows of one mini-batch together. Args: either kernel's.
  template <class Args>
  void load(const Args& args, const Cut& cut, MiniBatch<T>& x) const {
    load(args.xq, cut, x.q);
    load(args.xk, cut, x.k);
    load(args.xv, cut, x.target);
    for (int64_t i = 0; i < cut.rows; ++i) {
      for (int64_t j = 0; j < shape.head_size; ++j) {
        x.target.row(i)[j] -= x.k.row(i)[j];
      }
      x.lr[i] = elements<T>(args.lr)[(cut.row + i) * shape.heads + head];
    }
    x.tok = elements<T>(args.tok);
  }

 private:
  template <class U>
  Matrix<U> rows_at(U* data, const Cut& cut) const {
    const int64_t D = shape.head_size, C = shape.heads * D;
    return {data + cut.row * C + head * D, cut.rows, D, C};
  }
};

}  // namespace timepipe::cpu::ttt
