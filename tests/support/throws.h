#pragma once

#include <gmock/gmock.h>

#include <functional>
#include <optional>
#include <ostream>
#include <string>
#include <utility>

#include "runtime/error.h"

namespace timepipe::testing {

// Matches a call that throws; see throws<E>(). GoogleTest's ThrowsMessage says
// the same, but is compiled anew wherever it stands: 0.1 s each.
class CallThrows {
 public:
  using is_gtest_matcher = void;  // NOLINT: GoogleTest's name
  using Call = std::function<void()>;
  // The message of what a call throws, if that has the type asked for.
  using MessageOf = std::optional<std::string> (*)(const Call& call);

  CallThrows(MessageOf message_of, ::testing::Matcher<std::string> message);

  bool MatchAndExplain(const Call& call, std::ostream* explanation) const;
  void DescribeTo(std::ostream* out) const;
  void DescribeNegationTo(std::ostream* out) const;

 private:
  MessageOf message_of_;
  ::testing::Matcher<std::string> message_;
};

template <class E>
std::optional<std::string> message_thrown(const std::function<void()>& call) {
  try {
    call();
  } catch (const E& error) {
    return error.what();
  } catch (...) {
  }
  return std::nullopt;
}

// Matches a call that throws an E whose message matches.
template <class E>
CallThrows throws(::testing::Matcher<std::string> message) {
  return {message_thrown<E>, std::move(message)};
}

// Matches a call that throws InvalidArgument with `text` in its message.
CallThrows refuses(const std::string& text);

}  // namespace timepipe::testing
