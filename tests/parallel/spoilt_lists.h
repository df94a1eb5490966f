#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <vector>

#include "parallel/virtual_clock.h"
#include "runtime/error.h"
#include "tests/support/throws.h"

// What tests that spoil right lists share.

namespace timepipe {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::throws;
using Kind = Operation::Kind;
using Lists = std::vector<OperationList>;
using Predicate = std::function<bool(const Operation&)>;

inline Predicate computes(Phase phase, Part part, int32_t chunk) {
  return [=](const Operation& op) {
    return op.kind == Kind::kCompute && op.phase == phase && op.part == part &&
           op.chunk == chunk;
  };
}

inline Predicate is(Kind kind, Phase phase, Border border, int32_t chunk) {
  return [=](const Operation& op) {
    return op.kind == kind && op.phase == phase && op.border == border &&
           op.chunk == chunk;
  };
}

inline OperationList::iterator find(OperationList& list,
                                    const Predicate& predicate) {
  const auto at = std::find_if(list.begin(), list.end(), predicate);
  EXPECT_NE(at, list.end());
  return at;
}

inline void move_to(OperationList& list, const Predicate& what,
                    const Predicate& before) {
  const auto at = find(list, what);
  const Operation op = *at;
  list.erase(at);
  list.insert(find(list, before), op);
}

inline void expect_refused(const ScheduleShape& shape, const Lists& lists,
                           const char* where, const char* what) {
  for (const LaneRule rule : kLaneRules) {
    EXPECT_THAT(
        [&] { run_virtual_clock(shape, lists, {}, rule); },
        throws<InvalidArgument>(AllOf(HasSubstr(where), HasSubstr(what))));
  }
}

}  // namespace timepipe
