#pragma once

#ifdef _OPENMP
#include <omp.h>
#endif

#include <concepts>
#include <cstdint>

namespace timepipe {

// Calls f(i) for i in [0, count) on OpenMP threads. Each i must write its own
// outputs, and what it computes must not depend on the number of threads: then
// the result has the same bits for any number of threads. f must not throw.
template <class F>
requires std::invocable<F&, int64_t>
void parallel_for(int64_t count, F&& f) {
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < count; ++i) f(i);
}

inline int64_t max_threads() {
#ifdef _OPENMP
  return omp_get_max_threads();
#else
  return 1;
#endif
}
inline int64_t this_thread() {
#ifdef _OPENMP
  return omp_get_thread_num();
#else
  return 0;
#endif
}

// The same with f(i, thread), thread in [0, min(count, max_threads())): calls
// of one thread follow each other.
template <class F>
requires std::invocable<F&, int64_t, int64_t>
void parallel_for(int64_t count, F&& f) {
#pragma omp parallel for schedule(static, 1)
  for (int64_t i = 0; i < count; ++i) f(i, this_thread());
}

// Splits [0, n) into pieces of `piece` (the last may be short), whose borders
// depend on n alone, and calls f(begin, end) for each.
template <class F>
void parallel_pieces(int64_t n, int64_t piece, F&& f) {
  parallel_for((n + piece - 1) / piece, [&](int64_t i) {
    const int64_t begin = i * piece;
    f(begin, begin + piece < n ? begin + piece : n);
  });
}

}  // namespace timepipe
