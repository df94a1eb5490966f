#pragma once

#include "runtime/parameter.h"

namespace timepipe::testing {

// Five blocks: one, three and one of its parameters.
inline ParameterLayout five_blocks() {
  ParameterLayout layout;
  layout.add("scale", {5});
  layout.add("large", {2, ParameterBlock::kElements + 3});
  layout.add("last", {16});
  return layout;
}

}  // namespace timepipe::testing
