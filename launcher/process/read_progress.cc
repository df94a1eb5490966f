#include "launcher/process/read_progress.h"

#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <utility>

namespace timepipe {

ReadProgress::ReadProgress(std::string what, int64_t total, std::string unit)
    : what_(std::move(what)),
      unit_(std::move(unit)),
      total_(total),
      terminal_(::isatty(STDERR_FILENO) == 1),
      start_(Clock::now()),
      last_(start_) {}

ReadProgress::~ReadProgress() {
  if (line_open_) std::fprintf(stderr, "\r\033[K");
}

double ReadProgress::seconds() const {
  return std::chrono::duration<double>(Clock::now() - start_).count();
}

void ReadProgress::at(int64_t done) {
  done_ = done;
  const auto now = Clock::now();
  if (now - last_ < std::chrono::milliseconds(terminal_ ? 500 : 10000)) return;
  last_ = now;
  const double speed = static_cast<double>(done_) / seconds();
  const auto left = static_cast<int64_t>(
      static_cast<double>(std::max<int64_t>(total_ - done_, 0)) / speed);
  std::fprintf(stderr,
               "%stimepipe: %s: %" PRId64 " of %" PRId64
               " %s, %.0f %s/s, left %02" PRId64 ":%02" PRId64 "%s",
               terminal_ ? "\r\033[K" : "", what_.c_str(), done_, total_,
               unit_.c_str(), speed, unit_.c_str(), left / 60, left % 60,
               terminal_ ? "" : "\n");
  line_open_ = terminal_;
}

}  // namespace timepipe
