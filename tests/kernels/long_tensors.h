#pragma once

// Tensors of more than 2^31 elements, and the short ones with which they are
// compared.
//
// A long tensor is looked at in a few windows only. Of one that is read, the
// rest is zero, and takes no memory: nobody has written there since the system
// gave it. A long tensor that is written takes 8 GiB; all of a process lie in
// the same memory, one at a time, since to take new memory is what such a test
// waits for most.

#include <gtest/gtest.h>

#include <memory>
#include <utility>

#include "tests/support/tensors.h"

namespace timepipe::testing {

// A few indices of a long tensor's dimension: the first `width` of them, twice
// as many around element 2^31, and the last; each begins at a multiple of
// `width`. The dimension lies behind `outer` others; behind each of its indices
// there are `inner` elements.
class Windows {
 public:
  explicit Windows(int64_t width, int64_t inner, int64_t outer = 1)
      : width_(width),
        size_((kBorder / inner / outer / width + 4) * width),
        middle_((kBorder / inner % size_ / width - 1) * width) {}

  static constexpr int64_t kBorder = int64_t{1} << 31;

  int64_t size() const { return size_; }      // of the dimension
  int64_t few() const { return 4 * width_; }  // indices in windows
  int64_t last() const { return size_ - width_; }

  // f(index, few_index, count) for each window, and where it lies among those
  // of the short tensor.
  template <class F>
  void for_each(F&& f) const {
    f(0, 0, width_);
    f(middle_, width_, 2 * width_);
    f(size_ - width_, 3 * width_, width_);
  }

 private:
  int64_t width_, size_, middle_;
};

// f(slice of all, slice of few) for the windows of all [outer, size, inner] and
// few [outer, few, inner].
template <class F>
void for_windows(const Windows& windows, int64_t outer, const Tensor& all,
                 const Tensor& few, F&& f) {
  const int64_t inner = few.numel() / outer / windows.few();
  const Tensor all_flat = all.reshape({all.numel()});
  const Tensor few_flat = few.reshape({few.numel()});
  for (int64_t o = 0; o < outer; ++o) {
    windows.for_each([&](int64_t index, int64_t few_index, int64_t count) {
      const int64_t from = (o * windows.size() + index) * inner;
      const int64_t few_from = (o * windows.few() + few_index) * inner;
      f(all_flat.slice(from, from + count * inner),
        few_flat.slice(few_from, few_from + count * inner));
    });
  }
}

inline void scatter(Context& ctx, const Windows& windows, int64_t outer,
                    const Tensor& few, const Tensor& all) {
  for_windows(
      windows, outer, all, few,
      [&](const Tensor& to, const Tensor& from) { copy(ctx, from, to); });
}

inline Tensor gather(Context& ctx, const Windows& windows, int64_t outer,
                     const Tensor& all, const Shape& shape) {
  Tensor few = ctx.allocate(shape, all.dtype());
  for_windows(
      windows, outer, all, few,
      [&](const Tensor& from, const Tensor& to) { copy(ctx, from, to); });
  return few;
}

// An argument of a kernel that runs twice: on the windows alone, and on all.
struct Operand {
  Tensor few, all;
  int64_t outer = 1;
};

// The two runs: for (const auto part : kBoth) kernel(ctx, x.*part, y.*part);
inline constexpr Tensor Operand::*kBoth[] = {&Operand::few, &Operand::all};

class LongTest : public ::testing::Test {
 protected:
  // few: [windows.few(), ...]; behind `outer` - 1 more rows [outer,
  // windows.few() * n]. Zero outside the windows.
  Operand input(const Windows& windows, Tensor few, int64_t outer = 1) {
    Tensor all = zeros(long_shape(windows, few, outer), few.dtype());
    scatter(ctx, windows, outer, few, all);
    return {std::move(few), std::move(all), outer};
  }
  Operand random(const Windows& windows, Shape few, int64_t outer = 1) {
    return input(windows, normal(ctx, rng, std::move(few), DType::kF32), outer);
  }
  // Less than half of the memory of an output.
  Operand unset(const Windows& windows, Shape few, int64_t outer = 1) {
    return input(windows, nans(ctx, std::move(few), DType::kF32), outer);
  }

  // A long tensor that is written: `few` in its windows, what was there before
  // elsewhere. One at a time.
  Operand output(const Windows& windows, Tensor few, int64_t outer = 1) {
    Tensor all = output_memory(long_shape(windows, few, outer), few.dtype());
    scatter(ctx, windows, outer, few, all);
    return {std::move(few), std::move(all), outer};
  }
  Operand output(const Windows& windows, Shape few, DType dtype = DType::kF32,
                 int64_t outer = 1) {
    return output(windows, nans(ctx, std::move(few), dtype), outer);
  }
  // One that is changed in place: zero outside the windows.
  Operand in_place(const Windows& windows, Tensor few) {
    Operand y = output(windows, std::move(few));
    clear(ctx, y.all);
    scatter(ctx, windows, 1, y.few, y.all);
    return y;
  }

  Tensor output_memory(Shape shape, DType dtype) {
    Tensor all = memory().allocate(std::move(shape), dtype);
    EXPECT_GT(all.numel(), Windows::kBorder);
    EXPECT_EQ(memory().pool().held_bytes(), kMostBytes);
    return all;
  }
  // For a test that needs the room for something else.
  static void give_back_output() { memory_.reset(); }

  // What is the same for both runs, and a sum that each of them makes.
  Operand given(Shape shape) {
    const Tensor both = normal(ctx, rng, std::move(shape), DType::kF32);
    return {both, both};
  }
  Operand sums(const Shape& shape, DType dtype = DType::kF32) {
    return {nans(ctx, shape, dtype), nans(ctx, shape, dtype)};
  }

  ::testing::AssertionResult windows_agree(const Windows& windows,
                                           const Operand& y) {
    return same_bits(ctx, gather(ctx, windows, y.outer, y.all, y.few.shape()),
                     y.few);
  }
  ::testing::AssertionResult agree(const Operand& y) {
    return same_bits(ctx, y.all, y.few);
  }

  // As Context::zeros(), but large ones aren't written: the system gave zeros.
  Tensor zeros(Shape shape, DType dtype) {
    const int64_t held = ctx.pool().held_bytes();
    Tensor all = ctx.allocate(std::move(shape), dtype);
    if (all.size_bytes() < kFromSystem) {
      clear(ctx, all);
    } else {
      EXPECT_GE(ctx.pool().held_bytes(), held + all.size_bytes());
    }
    return all;
  }

  Context ctx;
  Generator rng{1};

 private:
  // More than what the C library keeps and gives out again, not as zeros.
  static constexpr int64_t kFromSystem = int64_t{1} << 26;
  static constexpr int64_t kMostBytes = (int64_t{1} << 33) + (1 << 28);

  static Shape long_shape(const Windows& windows, const Tensor& few,
                          int64_t outer) {
    Shape shape = few.shape();
    if (outer > 1) {
      shape.at(1) = few.dim(1) / windows.few() * windows.size();
    } else {
      shape.at(0) = windows.size();
    }
    return shape;
  }

  // Its pool keeps the block of the first request for all that follow.
  static Context& memory() {
    if (!memory_) {
      memory_ = std::make_unique<Context>();
      memory_->allocate({kMostBytes / 4}, DType::kF32);
    }
    return *memory_;
  }

  static inline std::unique_ptr<Context> memory_;
};

}  // namespace timepipe::testing
