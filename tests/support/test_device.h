#pragma once

#include "runtime/context.h"

namespace timepipe::testing {

// On which device the tests' kernels run: what TIMEPIPE_TEST_DEVICE names
// ("cuda", "cuda:1"), else the CPU. Aborts if it names none.
Device test_device();

class TestContext : public Context {
 public:
  TestContext() : Context(test_device()) {}
};

}  // namespace timepipe::testing
