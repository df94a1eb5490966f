// What each rank had and did, printed when a run ends.

#include "launcher/run/rank_report.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <string>

#include "runtime/byte_text.h"

namespace timepipe {
namespace {

constexpr int64_t kMostRanks = 16, kMostChunks = 8;  // that are listed

// "0, 2, 4": the chunks that are dealt to a time rank.
std::string chunks_of(int64_t time_rank, const RunConfig& config) {
  const int64_t chunks = config.num_chunks(), ranks = config.parallel.time;
  std::string text;
  for (int64_t c = time_rank, n = 0; c < chunks; c += ranks, ++n) {
    if (n == kMostChunks) return text + ", ...";
    text += (n == 0 ? "" : ", ") + std::to_string(c);
  }
  return text;
}

double mib(int64_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

}  // namespace

void report_ranks(Communicator& world, const RunConfig& config, int64_t steps,
                  const RankShare& share) {
  const auto sent = gather_values(world, share.sent_bytes / steps);
  const auto kept = gather_values(world, share.activation_bytes);
  if (world.rank() != 0) return;
  std::printf(
      "rank  passed on per step  stayed there    chunks of a sequence of "
      "%" PRId64 "\n",
      config.num_chunks());
  const auto listed = std::min<int64_t>(world.size(), kMostRanks);
  for (int64_t rank = 0; rank < listed; ++rank) {
    std::printf("%4" PRId64 "  %14.3f MiB  %8.1f MiB    %s\n", rank,
                mib(sent[rank]), mib(kept[rank]),
                chunks_of(rank % config.parallel.time, config).c_str());
  }
  if (listed < world.size()) {
    std::printf("      and %" PRId64 " more ranks\n", world.size() - listed);
  }
  std::printf(
      "passed on: hidden states and convolutions' last rows, and their "
      "gradients\nstayed there: activations, at most at once\n");
}

std::string taken_text(const MemoryPool& pool) {
  return "parameters and sums " +
         byte_text(pool.peak_bytes(MemoryUse::kParameters)) + ", activations " +
         byte_text(pool.peak_bytes(MemoryUse::kActivations)) + ", borders " +
         byte_text(pool.peak_bytes(MemoryUse::kBorders)) + ", scratch " +
         byte_text(pool.peak_bytes(MemoryUse::kScratch)) + "; held " +
         byte_text(pool.held_bytes());
}

}  // namespace timepipe
