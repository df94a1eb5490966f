// Waiting for messages, the same for every transport, and its errors.

#include "parallel/communicator.h"

#include "parallel/transport.h"
#include "parallel/watchdog.h"

namespace timepipe {

std::string Tag::to_string() const {
  return std::string(lane == Lane::kGradient ? "gradient of " : "") +
         name_of(border) + " of layer " + std::to_string(layer) + ", chunk " +
         std::to_string(chunk) + ", micro-batch " + std::to_string(micro_batch);
}

Misplaced::Misplaced(Tag expected, int peer, int64_t came)
    : InvalidArgument(describe_receive(expected, peer) + ": message " +
                      std::to_string(came) +
                      " of its lane came, expected message " +
                      std::to_string(expected.number)),
      expected(expected),
      came(came) {}

InvalidArgument Misplaced::named(const std::vector<Tag>& sent) const {
  std::string text = what();
  for (const Tag& tag : sent) {
    if (tag.lane != expected.lane || tag.number != came) continue;
    text += ": it is " + tag.to_string();
  }
  return InvalidArgument(text);
}

bool Request::test() {
  if (impl_ && impl_->test()) impl_.reset();
  return !impl_;
}

void Request::wait() {
  if (test()) return;
  Watchdog watchdog;
  watchdog.expect(
      {.over = [this] { return test(); }, .rank = rank(), .text = describe()});
  watchdog.wait([&] { watchdog.look(timeout_seconds_); });
}

}  // namespace timepipe
