#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "runtime/token_file.h"

namespace timepipe {

// Looks through the files of a run for ids that its model doesn't have, before
// a step meets them. Files whose ids are bounded, by the type of their tokens
// or by what `timepipe data prepare` says of them, aren't looked through, nor
// is again what the memory knows.
class IdScan {
 public:
  // memory: a file of JSON that remembers what was looked through, by path,
  // size, time and inode; one that can't be read knows nothing. The files must
  // outlive this.
  IdScan(const std::vector<const TokenFile*>& files, int64_t vocab_size,
         const std::string& memory);
  // Ends the thread and writes what it did to the memory, if that is kept.
  ~IdScan();
  IdScan(const IdScan&) = delete;
  IdScan& operator=(const IdScan&) = delete;

  // What is not yet looked through.
  int64_t bytes_left() const;
  // Looks through some MiB more; 0 if nothing was left, else their bytes.
  // Throws InvalidArgument naming file, position and id if one isn't in the
  // vocabulary, IoError if the file can't be read.
  int64_t read_some();
  // Writes the memory to this file, now and when this ends. Throws IoError.
  void keep_memory(const std::string& path);
  // Goes on in a thread of its own, for idle cores, until all is looked
  // through.
  void go_on_in_background();
  // Waits until the thread has looked through all, or found something.
  void wait_for_background() const { running_.wait(true); }
  // Throws what the thread found.
  void check() const;

 private:
  struct Part {
    const TokenFile* file;
    int64_t done;  // tokens
  };

  void write_memory() const;

  std::vector<Part> parts_;  // of files whose ids aren't bounded
  std::size_t next_ = 0;     // in parts_
  int64_t vocab_size_;
  std::string memory_;  // "": not kept
  std::atomic<bool> running_ = false;
  mutable std::mutex mutex_;  // of found_
  std::exception_ptr found_;
  std::jthread thread_;
};

// Whether the file's tokens can have no id of vocab_size or more.
bool ids_are_bounded(const TokenLayout& layout, int64_t vocab_size);

}  // namespace timepipe
