#include "tests/support/throws.h"

namespace timepipe::testing {

CallThrows::CallThrows(MessageOf message_of,
                       ::testing::Matcher<std::string> message)
    : message_of_(message_of), message_(std::move(message)) {}

bool CallThrows::MatchAndExplain(const Call& call,
                                 std::ostream* explanation) const {
  const std::optional<std::string> message = message_of_(call);
  if (explanation != nullptr) {
    *explanation << (message ? "which says: " + *message
                             : "which throws nothing of this type");
  }
  return message && message_.Matches(*message);
}

void CallThrows::DescribeTo(std::ostream* out) const {
  *out << "throws what says something that ";
  message_.DescribeTo(out);
}

void CallThrows::DescribeNegationTo(std::ostream* out) const {
  *out << "doesn't throw what says something that ";
  message_.DescribeTo(out);
}

CallThrows refuses(const std::string& text) {
  return throws<InvalidArgument>(::testing::HasSubstr(text));
}

}  // namespace timepipe::testing
