#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string>
#include <string_view>

#include "launcher/tokenizer/protocol.h"

namespace timepipe {

// The path of timepipe-tokenizer: beside this program.
std::string tokenizer_program();

// A child process that runs a program which speaks as timepipe-tokenizer does,
// while this lives.
class TokenizerProcess {
 public:
  // Throws IoError naming the program and the reason.
  explicit TokenizerProcess(const std::string& program);
  TokenizerProcess(const TokenizerProcess&) = delete;
  TokenizerProcess& operator=(const TokenizerProcess&) = delete;
  ~TokenizerProcess();

  pid_t pid() const { return pid_; }
  // Waits for the answer. context: see TokenizerHeader. Throws InvalidArgument
  // with what the child finds wrong, IoError if the child has ended, with how
  // it did.
  std::string request(TokenizerMessage kind, std::string_view bytes,
                      std::size_t context = 0);

 private:
  [[noreturn]] void throw_ended();

  std::string program_;
  int socket_ = -1;
  pid_t pid_ = -1;  // -1: ended and waited for
};

}  // namespace timepipe
