// Waiting for messages, the same for every transport: polls, time limits,
// errors.

#include "parallel/communicator.h"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <sstream>
#include <thread>

#include "parallel/transport.h"

namespace timepipe {
namespace {

using Clock = std::chrono::steady_clock;

thread_local int64_t current_step = 0;

// Between two polls. A message is often microseconds away; else ranks that
// share a core with this one should get it.
void pause_after(Clock::duration waited) {
  using std::chrono::microseconds;
  if (waited < microseconds(20)) return;
  if (waited < microseconds(500)) {
    sched_yield();
    return;
  }
  std::this_thread::sleep_for(std::clamp<Clock::duration>(
      waited / 32, microseconds(20), microseconds(100)));
}

std::string blocked_text(const Request& request, double seconds) {
  std::ostringstream text;
  text << "rank " << request.rank() << ", step " << current_step << ": waited "
       << seconds << " s for " << request.describe();
  return text.str();
}

}  // namespace

std::string Tag::to_string() const {
  return std::string(lane == Lane::kGradient ? "gradient of " : "") +
         name_of(border) + " of layer " + std::to_string(layer) + ", chunk " +
         std::to_string(chunk) + ", sequence " + std::to_string(sequence);
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
  wait_until([this] { return test(); }, *this, timeout_seconds_);
}

void wait_until(const std::function<bool()>& over, const Request& request,
                double timeout_seconds) {
  const auto start = Clock::now();
  const std::chrono::duration<double> timeout(timeout_seconds);
  const std::string before = activity();
  set_activity("waiting for " + request.describe());
  while (!over()) {
    const auto waited = Clock::now() - start;
    if (waited > timeout) {
      throw Blocked(blocked_text(request, timeout_seconds));
    }
    pause_after(waited);
  }
  set_activity(before);  // not after Blocked: it is why this rank ends
}

void set_current_step(int64_t step) { current_step = step; }

}  // namespace timepipe
