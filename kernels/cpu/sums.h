#pragma once

// Sums whose order follows from the shape alone.

#include "kernels/matmul.h"
#include "runtime/parallel_for.h"

namespace timepipe::cpu {

inline constexpr int64_t kLanes = 8;

// Sum of term(i) over [0, n) in f64: element i goes to lane i mod kLanes, so
// that the compiler may vectorise without reordering.
template <class F>
double sum_over(int64_t n, F&& term) {
  double lanes[kLanes] = {};
  const int64_t whole = n - n % kLanes;
  for (int64_t i = 0; i < whole; i += kLanes) {
    for (int64_t l = 0; l < kLanes; ++l) {
      lanes[l] += static_cast<double>(term(i + l));
    }
  }
  for (int64_t i = whole; i < n; ++i) {
    lanes[i - whole] += static_cast<double>(term(i));
  }
  return ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) +
         ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
}

template <class T>
void put(T& out, T value, Write write) {
  out = write == Write::kAdd ? out + value : value;
}

// out[c] = sum of term(n, c) over n in [0, N), in order and in f64; threads
// share the columns.
template <class T, class F>
void column_sums(int64_t N, int64_t C, F&& term, T* out, Write write) {
  constexpr int64_t kColumns = 32;
  parallel_pieces(C, kColumns, [&](int64_t begin, int64_t end) {
    double sums[kColumns] = {};
    for (int64_t n = 0; n < N; ++n) {
      for (int64_t c = begin; c < end; ++c) {
        sums[c - begin] += static_cast<double>(term(n, c));
      }
    }
    for (int64_t c = begin; c < end; ++c) {
      put(out[c], static_cast<T>(sums[c - begin]), write);
    }
  });
}

}  // namespace timepipe::cpu
