#include "runtime/memory_guard.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>

#include "runtime/elements.h"
#include "runtime/transfer.h"
#include "tests/support/tensors.h"

// Of the address sanitizer; null in builds without it.
extern "C" __attribute__((weak)) int __asan_address_is_poisoned(const void*);

namespace timepipe {
namespace {

constexpr int64_t kElements = 64;

// That the host reads `expected` at `x`, unless the build guards memory: then
// that is an error.
void expect_closed(const volatile float* x, float expected) {
  if constexpr (kGuardsMemory) {
    EXPECT_DEATH(static_cast<void>(*x), "use-after-poison");
  } else {
    EXPECT_EQ(*x, expected);
  }
}

void expect_open(const volatile float* x, float expected) {
  EXPECT_EQ(*x, expected);
}

// The least kernel: sets all elements, and gives their place away.
float* set_all(Context& ctx, float value, Tensor t) {
  const KernelScope scope(ctx);
  float* x = elements<float>(t);
  for (int64_t i = 0; i < t.numel(); ++i) x[i] = value;
  return x;
}

class Guard : public ::testing::Test {
 protected:
  Context ctx_;
  Tensor t_ = ctx_.allocate({kElements}, DType::kF32);
  float* x_ = set_all(ctx_, 7, t_);
};

TEST_F(Guard, IsThereWithTheAddressSanitizerAlone) {
  EXPECT_EQ(kGuardsMemory, __asan_address_is_poisoned != nullptr);
}

TEST_F(Guard, MemoryIsClosedWhenItsKernelEnded) {
  expect_closed(x_, 7);
  expect_closed(x_ + kElements - 1, 7);
  EXPECT_EQ(testing::to_f64(ctx_, t_).back(), 7);
  expect_closed(x_, 7);
}

TEST_F(Guard, MemoryIsOpenUntilTheOutermostKernelEnds) {
  {
    const KernelScope outer(ctx_);
    EXPECT_EQ(set_all(ctx_, 8, t_), x_);
    expect_open(x_, 8);
  }
  expect_closed(x_, 8);
}

TEST_F(Guard, KernelsOpenWhatTheyAskForOnly) {
  const KernelScope scope(ctx_);
  const Tensor half = t_.slice(0, kElements / 2);
  expect_open(elements<float>(half), 7);
  expect_closed(x_ + kElements / 2, 7);
}

TEST_F(Guard, ElementsAreOfKernels) {
  if constexpr (kGuardsMemory) {
    EXPECT_DEATH(elements<float>(t_), "read outside of every kernel");
    EXPECT_DEATH(element_bytes(t_), "read outside of every kernel");
  } else {
    EXPECT_EQ(elements<float>(t_), x_);
  }
}

TEST_F(Guard, KernelsOfAnotherContextOpenNothing) {
  Context other;
  const KernelScope scope(other);
  if constexpr (kGuardsMemory) {
    EXPECT_DEATH(elements<float>(t_), "read outside of every kernel");
  } else {
    EXPECT_EQ(elements<float>(t_), x_);
  }
}

TEST_F(Guard, ElementsAreReadAsWhatTheyAre) {
  const KernelScope scope(ctx_);
  EXPECT_THROW(elements<double>(t_), InvalidArgument);
}

TEST_F(Guard, MessagesAreOpenAsLongAsTheirTransport) {
  {
    const TransportBytes bytes(t_);
    expect_open(x_, 7);
    set_all(ctx_, 8, t_);
    expect_open(x_, 8);  // the end of the kernel leaves it so
  }
  expect_closed(x_, 8);
}

TEST_F(Guard, MessagesThatOverlapCloseOneByOne) {
  std::optional<TransportBytes> part(t_.slice(0, kElements / 2)), all(t_);
  all.reset();
  expect_open(x_, 7);
  expect_closed(x_ + kElements / 2, 7);
  part.reset();
  expect_closed(x_, 7);
  part.emplace(t_.slice(0, kElements / 2));
  all.emplace(t_);
  part.reset();
  expect_open(x_, 7);
  all.reset();
  expect_closed(x_, 7);
}

TEST_F(Guard, KernelsCloseWhatIsBesideAMessage) {
  {
    const TransportBytes part(t_.slice(16, 32));
    set_all(ctx_, 8, t_);
    expect_closed(x_ + 15, 8);
    expect_open(x_ + 16, 8);
    expect_open(x_ + 31, 8);
    expect_closed(x_ + 32, 8);
  }
  expect_closed(x_ + 16, 8);
}

TEST_F(Guard, MessagesThatEndInAKernelCloseWithIt) {
  {
    const KernelScope scope(ctx_);
    { const TransportBytes bytes(t_); }
    expect_open(x_, 7);
  }
  expect_closed(x_, 7);
}

TEST_F(Guard, BlocksThatComeBackToThePoolAreClosed) {
  const KernelScope scope(ctx_);
  expect_open(elements<float>(t_), 7);
  t_ = Tensor();
  expect_closed(x_, 7);
  // The next that takes the block begins with nothing open.
  Tensor next = ctx_.allocate({kElements}, DType::kF32);
  expect_closed(x_, 7);
  EXPECT_EQ(set_all(ctx_, 9, next), x_);
}

}  // namespace
}  // namespace timepipe
