#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace timepipe {

// What a person sees on stderr while a command reads much: on a terminal
// one line that is written over, elsewhere a line now and then; nothing at all
// if it is over within seconds.
class ReadProgress {
 public:
  // what: "reads the prompt"; total: all there are, of the unit "tokens" or
  // "bytes".
  ReadProgress(std::string what, int64_t total, std::string unit = "tokens");
  // Clears the line.
  ~ReadProgress();
  ReadProgress(const ReadProgress&) = delete;
  ReadProgress& operator=(const ReadProgress&) = delete;

  void at(int64_t done);  // of `total`
  void add(int64_t count) { at(done_ + count); }
  double seconds() const;

 private:
  using Clock = std::chrono::steady_clock;

  std::string what_, unit_;
  int64_t total_, done_ = 0;
  bool terminal_, line_open_ = false;
  Clock::time_point start_, last_;
};

}  // namespace timepipe
