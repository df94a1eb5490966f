#pragma once

#include <string>

namespace timepipe {

// Keeps other programs from a run's folder while this lives: RUN_DIR/lock,
// locked by the kernel, which lets go of it however this process ends. The file
// says who has it.
class RunLock {
 public:
  // Waits a few seconds for a run that is on its way out. Throws IoError if
  // there can't be a lock, InvalidArgument naming who has it.
  explicit RunLock(const std::string& run_dir);
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;
  ~RunLock();

 private:
  int fd_;
};

}  // namespace timepipe
