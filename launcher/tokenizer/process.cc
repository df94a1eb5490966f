// Starts timepipe-tokenizer, talks to it and waits for its end.

#include "launcher/tokenizer/process.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <utility>

#include "runtime/error.h"

namespace timepipe {
namespace {

int wait_for(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

std::string how_it_ended(int status) {
  if (WIFSIGNALED(status)) {
    return "ended by signal " + std::to_string(WTERMSIG(status)) + " (" +
           ::strsignal(WTERMSIG(status)) + ")" +
           (WTERMSIG(status) == SIGKILL
                ? "; the kernel does that where memory is short"
                : "");
  }
  if (WEXITSTATUS(status) == kTokenizerOutOfMemory) return "out of memory";
  return "ended with status " + std::to_string(WEXITSTATUS(status));
}

}  // namespace

std::string tokenizer_program() {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) throw IoError("/proc/self/exe: " + error.message());
  return (self.parent_path() / "timepipe-tokenizer").string();
}

TokenizerProcess::TokenizerProcess(const std::string& program)
    : program_(program) {
  std::array<int, 2> ends = {};
  // Closed in other programs that threads start at the same time.
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    throw IoError(program_ + ": " + std::strerror(errno));
  }
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDIN_FILENO);
  std::string name = program_;
  const std::array<char*, 2> arguments = {name.data(), nullptr};
  const int error = ::posix_spawn(&pid_, program_.c_str(), &actions, nullptr,
                                  arguments.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  socket_ = ends[0];
  if (error == 0) return;
  ::close(socket_);
  throw IoError(program_ + ": " + std::strerror(error) +
                "; it reads sentencepiece models and is built with timepipe");
}

TokenizerProcess::~TokenizerProcess() {
  ::close(socket_);  // the child sees it and leaves
  if (pid_ > 0) wait_for(pid_);
}

void TokenizerProcess::throw_ended() {
  if (pid_ < 0) throw IoError(program_ + ": has ended before");
  // The child may have closed its end of the socket without exiting.
  ::shutdown(socket_, SHUT_RDWR);
  throw IoError(
      program_ + ": " +
      how_it_ended(wait_for(std::exchange(pid_, static_cast<pid_t>(-1)))));
}

std::string TokenizerProcess::request(TokenizerMessage kind,
                                      std::string_view bytes,
                                      std::size_t context) {
  require(bytes.size() <= kMostMessageBytes, bytes.size(),
          " bytes at once, expected at most ", kMostMessageBytes);
  TokenizerHeader header = {.kind = kind,
                            .context = static_cast<uint32_t>(context),
                            .size = bytes.size()};
  if (!send_all(socket_, &header, sizeof(header)) ||
      !send_all(socket_, bytes.data(), bytes.size()) ||
      !receive_all(socket_, &header, sizeof(header))) {
    throw_ended();
  }
  if (header.size > kMostMessageBytes ||
      (header.kind != TokenizerMessage::kAnswer &&
       header.kind != TokenizerMessage::kMistake)) {
    throw IoError(program_ + ": its answer isn't one of timepipe-tokenizer");
  }
  std::string answer(header.size, '\0');
  if (!receive_all(socket_, answer.data(), answer.size())) throw_ended();
  if (header.kind == TokenizerMessage::kMistake) throw InvalidArgument(answer);
  return answer;
}

}  // namespace timepipe
