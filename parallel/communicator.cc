#include "parallel/communicator.h"

#include <sched.h>

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <sstream>
#include <thread>

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

std::string blocked_text(const Request::Impl& request, double seconds) {
  std::ostringstream text;
  text << "rank " << request.rank() << ", step " << current_step << ": waited "
       << seconds << " s for " << request.describe();
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
  const std::string before = activity();
  set_activity("waiting for " + impl_->describe());
  while (!test()) {
    const auto waited = Clock::now() - start;
    if (waited > timeout) throw Blocked(blocked_text(*impl_, timeout_seconds_));
    pause_after(waited);
  }
  set_activity(before);  // not after Blocked: it is why this rank ends
}

void set_current_step(int64_t step) { current_step = step; }

}  // namespace timepipe
