#include "parallel/communicator.h"

#include <sched.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstdio>
#include <sstream>
#include <thread>

namespace timepipe {
namespace {

using Clock = std::chrono::steady_clock;

struct ThisThread {
  std::string activity = "starting";
  int64_t step = 0;
  bool reports = false;  // its activity is what SIGTERM prints
};
thread_local ThisThread this_thread;

// What the signal handler writes: whole lines, made beforehand. The handler may
// run on another thread than the writer, which would have to come round the
// ring to disturb it.
struct Line {
  std::array<char, 512> text;
  std::size_t length = 0;
};
constexpr int kLines = 8;
std::array<Line, kLines> lines;
std::atomic<int> current_line = 0;
std::atomic<int> reporting_rank = 0;

static_assert(std::atomic<int>::is_always_lock_free);

void publish(const std::string& activity) {
  const int next = (current_line.load(std::memory_order_relaxed) + 1) % kLines;
  Line& line = lines[next];
  const int length = std::snprintf(line.text.data(), line.text.size(),
                                   "rank %d: terminated while %s",
                                   reporting_rank.load(), activity.c_str());
  line.length = std::min<std::size_t>(length, line.text.size() - 1);
  line.text[line.length++] = '\n';
  current_line.store(next, std::memory_order_release);
}

// Seen: once a rank of a host has ended by SIGTERM, Open MPI 4.1 may kill the
// others at once (SIGCHLD seems to end its sleep before SIGKILL): so linger.
extern "C" void report_termination(int) {
  constexpr timespec kLetOthersWrite = {.tv_sec = 0, .tv_nsec = 300'000'000};
  const Line& line = lines[current_line.load(std::memory_order_acquire)];
  if (write(STDERR_FILENO, line.text.data(), line.length) > 0) {
    nanosleep(&kLetOthersWrite, nullptr);
  }
  _exit(128 + SIGTERM);
}

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

std::string blocked_text(const Request::Impl& request, double seconds) {
  std::ostringstream text;
  text << "rank " << request.rank() << ", step " << this_thread.step
       << ": waited " << seconds << " s for " << request.describe();
  return text.str();
}

}  // namespace

std::string Tag::to_string() const {
  return std::string(gradient ? "gradient of " : "") + name_of(border) +
         " of layer " + std::to_string(layer) + ", chunk " +
         std::to_string(chunk) + ", sequence " + std::to_string(sequence);
}

int32_t Tag::packed() const {
  // From the top: border 2, gradient 1, layer 8, and 20 bits that sequence and
  // chunk share, since long sequences are few: 2 bits say how many of the other
  // 18 are the chunk's.
  constexpr std::array<int, 4> kChunkBits = {4, 8, 12, 16};
  constexpr int kLayerBits = 8, kSharedBits = 18;
  const int needed = std::bit_width(static_cast<uint32_t>(std::max(chunk, 0)));
  const auto split =
      std::find_if(kChunkBits.begin(), kChunkBits.end(),
                   [&](int chunk_bits) { return needed <= chunk_bits; });
  require(chunk >= 0 && split != kChunkBits.end() && layer >= 0 &&
              layer < (1 << kLayerBits) && sequence >= 0 &&
              sequence < (1 << (kSharedBits - *split)),
          to_string() +
              ": does not fit into a tag of 31 bits, expected layer "
              "< 256, chunk < 65536, fewer sequences the more "
              "chunks they have");
  const int kind = 2 * static_cast<int>(border) + (gradient ? 1 : 0);
  const auto choice = static_cast<int32_t>(split - kChunkBits.begin());
  int32_t bits = kind << kLayerBits | layer;
  bits = bits << 2 | choice;
  return bits << kSharedBits | sequence << *split | chunk;
}

bool Request::test() {
  if (impl_ && impl_->test()) impl_.reset();
  return !impl_;
}

void Request::wait() {
  if (test()) return;
  const auto start = Clock::now();
  const std::chrono::duration<double> timeout(timeout_seconds_);
  const std::string before = this_thread.activity;
  set_activity("waiting for " + impl_->describe());
  while (!test()) {
    const auto waited = Clock::now() - start;
    if (waited > timeout) throw Blocked(blocked_text(*impl_, timeout_seconds_));
    pause_after(waited);
  }
  set_activity(before);  // not after Blocked: it is why this rank ends
}

void set_activity(const std::string& text) {
  this_thread.activity = text;
  if (this_thread.reports) publish(text);
}

void set_current_step(int64_t step) { this_thread.step = step; }

void install_termination_report(int rank) {
  reporting_rank = rank;
  this_thread.reports = true;
  publish(this_thread.activity);
  struct sigaction action = {};
  action.sa_handler = report_termination;
  sigaction(SIGTERM, &action, nullptr);
}

}  // namespace timepipe
