#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <string>

namespace timepipe {

// What a rank waits for: operations under way, the oldest first. Whoever lets
// them move (Exchange::progress()) looks here, so that none is waited for
// longer than the deadline, whether the host waits or a device.
class Watchdog {
 public:
  struct Operation {
    std::function<bool()> over;
    int rank;          // this rank, in the world
    std::string text;  // "state of layer 2, chunk 5, micro-batch 0 from rank 1"
  };

  void expect(Operation operation);
  bool expects_nothing() const { return operations_.empty(); }

  // Forgets the oldest as long as it is over. Throws Blocked, which names this
  // rank, the step, the oldest and the seconds, if it has been that for longer
  // than so many seconds.
  void look(double timeout_seconds);

  // The host waits: polls, which looks, until nothing is expected. Passes on
  // what poll() throws, and expects nothing then, either.
  void wait(const std::function<void()>& poll);

 private:
  using Clock = std::chrono::steady_clock;

  std::deque<Operation> operations_;
  Clock::time_point oldest_since_;
};

// The step that Blocked names. Of the calling thread.
void set_current_step(int64_t step);

}  // namespace timepipe
