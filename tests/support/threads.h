#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <string>
#include <vector>

#include "tests/support/tensors.h"

#ifdef _OPENMP
#include <omp.h>
#endif

namespace timepipe::testing {

// The number of OpenMP threads while this lives; nothing without OpenMP.
class Threads {
 public:
#ifdef _OPENMP
  explicit Threads(int count) : before_(omp_get_max_threads()) {
    omp_set_num_threads(count);
  }
  ~Threads() { omp_set_num_threads(before_); }
#else
  explicit Threads(int) {}
  ~Threads() {}
#endif
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
  [[maybe_unused]] int before_ = 1;
};

// While this lives every parallel region is a team of one, whatever the number
// of threads: a library that asks for the number might still use it.
class TeamsOfOne {
 public:
#ifdef _OPENMP
  TeamsOfOne() : before_(omp_get_max_active_levels()) {
    omp_set_max_active_levels(0);
  }
  ~TeamsOfOne() { omp_set_max_active_levels(before_); }
#else
  TeamsOfOne() {}
  ~TeamsOfOne() {}
#endif
  TeamsOfOne(const TeamsOfOne&) = delete;
  TeamsOfOne& operator=(const TeamsOfOne&) = delete;

 private:
  [[maybe_unused]] int before_ = 1;
};

// `run` gives its outputs as a std::vector<Tensor>, freshly computed: they must
// have the same bits for 1, 2, 3 and 5 threads.
template <class F>
::testing::AssertionResult same_bits_for_any_threads(Context& ctx, F&& run) {
  std::vector<Tensor> expected;
  for (const int count : {1, 2, 3, 5}) {
    const Threads threads(count);
    const std::vector<Tensor> outputs = run();
    if (count == 1) expected = outputs;
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      const auto same = same_bits(ctx, outputs[i], expected[i]);
      if (same) continue;
      return ::testing::AssertionFailure()
             << count << " threads, output " << i << ": " << same.message();
    }
  }
  return ::testing::AssertionSuccess();
}

}  // namespace timepipe::testing
