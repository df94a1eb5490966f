#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace timepipe {

// What a person sees on stderr while a command reads many tokens: on a terminal
// one line that is written over, elsewhere a line now and then; nothing at all
// if it is over within seconds.
class TokenProgress {
 public:
  // what: "reads the prompt"; tokens: all there are.
  TokenProgress(std::string what, int64_t tokens);
  // Clears the line.
  ~TokenProgress();
  TokenProgress(const TokenProgress&) = delete;
  TokenProgress& operator=(const TokenProgress&) = delete;

  void add(int64_t tokens);
  double seconds() const;

 private:
  using Clock = std::chrono::steady_clock;

  std::string what_;
  int64_t tokens_, done_ = 0;
  bool terminal_, line_open_ = false;
  Clock::time_point start_, last_;
};

}  // namespace timepipe
