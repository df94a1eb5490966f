// Ages of operations, and polls for them.

#include "parallel/watchdog.h"

#include <sched.h>

#include <algorithm>
#include <sstream>
#include <thread>
#include <utility>

#include "runtime/error.h"
#include "runtime/termination.h"

namespace timepipe {
namespace {

thread_local int64_t current_step = 0;

// Between two polls. A message is often microseconds away; else ranks that
// share a core with this one should get it.
void pause_after(std::chrono::steady_clock::duration waited) {
  using std::chrono::microseconds;
  if (waited < microseconds(20)) return;
  if (waited < microseconds(500)) {
    sched_yield();
    return;
  }
  std::this_thread::sleep_for(std::clamp<std::chrono::steady_clock::duration>(
      waited / 32, microseconds(20), microseconds(100)));
}

}  // namespace

void set_current_step(int64_t step) { current_step = step; }

void Watchdog::expect(Operation operation) {
  if (operations_.empty()) oldest_since_ = Clock::now();
  operations_.push_back(std::move(operation));
}

void Watchdog::look(double timeout_seconds) {
  while (!operations_.empty() && operations_.front().over()) {
    operations_.pop_front();
    oldest_since_ = Clock::now();
  }
  if (operations_.empty()) return;
  const std::chrono::duration<double> timeout(timeout_seconds);
  if (Clock::now() - oldest_since_ <= timeout) return;
  const Operation& oldest = operations_.front();
  std::ostringstream text;
  text << "rank " << oldest.rank << ", step " << current_step << ": waited "
       << timeout_seconds << " s for " << oldest.text;
  throw Blocked(text.str());
}

void Watchdog::wait(const std::function<void()>& poll) {
  if (operations_.empty()) return;
  const auto start = Clock::now();
  const std::string before = activity();
  set_activity("waiting for " + operations_.front().text);
  try {
    for (;;) {
      poll();
      if (operations_.empty()) break;
      pause_after(Clock::now() - start);
    }
  } catch (...) {
    operations_.clear();
    throw;  // with the activity, which is why this rank ends
  }
  set_activity(before);
}

}  // namespace timepipe
