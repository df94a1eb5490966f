#pragma once

// What tests of kernels share besides tensors: the names of Google Test that
// all use, and what a refused argument looks like.

#include <gmock/gmock.h>

#include <string>
#include <tuple>

#include "tests/support/gradcheck.h"
#include "tests/support/threads.h"

namespace timepipe::testing {

using ::testing::Combine;
using ::testing::HasSubstr;
using ::testing::Values;

// Matches a call that throws InvalidArgument with `text` in its message.
inline auto refuses(const std::string& text) {
  return ::testing::ThrowsMessage<InvalidArgument>(HasSubstr(text));
}

}  // namespace timepipe::testing
