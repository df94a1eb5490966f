#include "launcher/run/lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "launcher/process/rank_log.h"
#include "runtime/error.h"
#include "runtime/files.h"

namespace timepipe {

RunLock::RunLock(const std::string& run_dir) {
  using Clock = std::chrono::steady_clock;
  constexpr auto kPatience = std::chrono::seconds(5);
  constexpr auto kPause = std::chrono::milliseconds(20);
  const std::string path = run_dir + "/lock";
  fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (fd_ < 0) throw IoError(path + ": " + std::strerror(errno));
  const auto start = Clock::now();
  while (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
    const int error = errno;
    if (error == EINTR) continue;
    if (error == EWOULDBLOCK && Clock::now() - start < kPatience) {
      std::this_thread::sleep_for(kPause);
      continue;
    }
    if (error == ENOSYS || error == ENOLCK || error == EOPNOTSUPP) {
      tell(path + ": this file system has no locks (" + std::strerror(error) +
           "): nothing keeps a second run from this folder");
      return;
    }
    ::close(fd_);
    if (error != EWOULDBLOCK) throw IoError(path + ": " + std::strerror(error));
    std::string owner = read_text(path).substr(0, 200);
    std::erase(owner, '\n');
    throw InvalidArgument("run_dir: " + run_dir + ": in use by another run (" +
                          owner + "), expected one that nobody uses");
  }
  const std::string owner = describe_process() + "\n";
  const bool written = ::ftruncate(fd_, 0) == 0 &&
                       ::pwrite(fd_, owner.data(), owner.size(), 0) ==
                           static_cast<ssize_t>(owner.size());
  static_cast<void>(written);  // the lock holds without the text
}

RunLock::~RunLock() { ::close(fd_); }

}  // namespace timepipe
