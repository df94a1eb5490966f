#pragma once

// Sums whose order follows from the shape alone.

#include <algorithm>

#include "kernels/write.h"
#include "runtime/parallel_for.h"

namespace timepipe::cpu {

inline constexpr int64_t kLanes = 8;

// Calls f(i, lane) for i in [0, n) in order, with lane = i mod kLanes: what f
// gathers lane by lane is vectorised without being reordered.
template <class F>
void over_lanes(int64_t n, F&& f) {
  const int64_t whole = n - n % kLanes;
  for (int64_t i = 0; i < whole; i += kLanes) {
    for (int64_t l = 0; l < kLanes; ++l) f(i + l, l);
  }
  for (int64_t i = whole; i < n; ++i) f(i, i - whole);
}

// Sum of term(i) over [0, n) in f64.
template <class F>
double sum_over(int64_t n, F&& term) {
  double lanes[kLanes] = {};
  over_lanes(n, [&](int64_t i, int64_t l) {
    lanes[l] += static_cast<double>(term(i));
  });
  return ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) +
         ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
}

template <class T>
void put(T& out, T value, Write write) {
  out = write == Write::kAdd ? out + value : value;
}

// Adds to sums[c] the sum of term(n, c) over n in [0, N), in order and in f64,
// for c in [begin, end). A few columns' sums stay in registers over a block of
// rows, which stays in the nearest cache until all columns are through.
template <class F>
void add_columns(int64_t N, int64_t begin, int64_t end, F&& term,
                 double* sums) {
  constexpr int64_t kRows = 64;
  for (int64_t n = 0; n < N; n += kRows) {
    const int64_t n_end = std::min(n + kRows, N);
    int64_t c = begin;
    for (; c + kLanes <= end; c += kLanes) {
      double lanes[kLanes];
      std::copy_n(sums + c, kLanes, lanes);
      for (int64_t i = n; i < n_end; ++i) {
        for (int64_t l = 0; l < kLanes; ++l) {
          lanes[l] += static_cast<double>(term(i, c + l));
        }
      }
      std::copy_n(lanes, kLanes, sums + c);
    }
    for (; c < end; ++c) {
      for (int64_t i = n; i < n_end; ++i) {
        sums[c] += static_cast<double>(term(i, c));
      }
    }
  }
}

// Columns that one thread sums: two cache lines of f32.
inline constexpr int64_t kColumns = 32;

// out[c] = sum of term(n, c) over n in [0, N), in order and in f64; threads
// share the columns.
template <class T, class F>
void column_sums(int64_t N, int64_t C, F&& term, T* out, Write write) {
  parallel_pieces(C, kColumns, [&](int64_t begin, int64_t end) {
    double sums[kColumns] = {};
    add_columns(
        N, 0, end - begin,
        [&](int64_t n, int64_t c) { return term(n, begin + c); }, sums);
    for (int64_t c = begin; c < end; ++c) {
      put(out[c], static_cast<T>(sums[c - begin]), write);
    }
  });
}

}  // namespace timepipe::cpu
