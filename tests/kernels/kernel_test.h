#pragma once

// What tests of kernels share besides tensors: the names of Google Test that
// all use, and what a refused argument looks like.

#include <gmock/gmock.h>

#include <string>
#include <tuple>

#include "tests/support/gradcheck.h"
#include "tests/support/threads.h"
#include "tests/support/throws.h"

namespace timepipe::testing {

using ::testing::Combine;
using ::testing::HasSubstr;
using ::testing::Values;

// What a kernel stored in bf16, and what it computes in f32: that rounding
// changed something, and nothing else did.
inline void expect_rounded(Context& ctx, const Tensor& stored,
                           const Tensor& computed) {
  const HostArray a = download(ctx, stored), b = download(ctx, computed);
  EXPECT_TRUE(same_bits(a, converted(b, a.dtype())));
  EXPECT_FALSE(same_bits(converted(a, b.dtype()), b));
}

}  // namespace timepipe::testing
