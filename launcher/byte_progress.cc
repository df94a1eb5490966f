#include "launcher/byte_progress.h"

#include <unistd.h>

#include <cstdio>
#include <utility>

namespace timepipe {
namespace {

std::chrono::milliseconds pause(bool terminal) {
  return std::chrono::milliseconds(terminal ? 200 : 10'000);
}

}  // namespace

ByteProgress::ByteProgress(std::string what, int64_t total_bytes)
    : what_(std::move(what)),
      total_bytes_(total_bytes),
      terminal_(::isatty(STDERR_FILENO) == 1),
      start_(Clock::now()),
      next_(start_ + pause(terminal_)) {}

ByteProgress::~ByteProgress() {
  if (line_open_) std::fprintf(stderr, "\r\033[K");
}

void ByteProgress::at(int64_t done_bytes) {
  const auto now = Clock::now();
  if (now < next_) return;
  next_ = now + pause(terminal_);
  constexpr double kMiB = 1 << 20;
  const auto done = static_cast<double>(done_bytes);
  const auto total = static_cast<double>(total_bytes_);
  const double seconds = std::chrono::duration<double>(now - start_).count();
  std::fprintf(stderr,
               "%s%s: %.1f of %.1f MiB (%.0f %%)  %.1f MiB/s  left %.0f s%s",
               terminal_ ? "\r\033[K" : "", what_.c_str(), done / kMiB,
               total / kMiB, 100 * done / total, done / kMiB / seconds,
               (total - done) / (done + 1) * seconds, terminal_ ? "" : "\n");
  line_open_ = terminal_;
}

}  // namespace timepipe
