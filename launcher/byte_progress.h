#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace timepipe {

// How far a command is that reads many bytes, on stderr: on a terminal a line
// that is written over and goes at the end, else a line now and then.
class ByteProgress {
 public:
  ByteProgress(std::string what, int64_t total_bytes);
  ByteProgress(const ByteProgress&) = delete;
  ByteProgress& operator=(const ByteProgress&) = delete;
  ~ByteProgress();

  void at(int64_t done_bytes);

 private:
  using Clock = std::chrono::steady_clock;

  std::string what_;
  int64_t total_bytes_;
  bool terminal_, line_open_ = false;
  Clock::time_point start_, next_;
};

}  // namespace timepipe
