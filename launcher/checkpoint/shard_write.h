#pragma once

// One rank's shard on its way to the disk.

#include <cstdint>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "runtime/safetensors.h"

namespace timepipe {

// What came of it.
struct WrittenShard {
  std::string error;  // "" if whole
  int64_t size_bytes = 0;
  std::vector<uint64_t> hashes;  // xxh64 of the items
};

// Writes a shard in a thread of its own, which sends no messages. A disk that
// doesn't answer holds up nobody: the thread stays behind, with what it reads.
class ShardWrite {
 public:
  struct Shard {
    std::string folder, file;  // the folder is made
    std::vector<SafetensorsItem> items;
    // In which the items lie.
    std::vector<std::shared_ptr<const HostArray>> memory;
    bool leaves_note = false;  // for the other ranks: see read_note()
  };

  ShardWrite() = default;  // nothing
  explicit ShardWrite(Shard shard);
  ShardWrite(ShardWrite&&) = default;
  ShardWrite& operator=(ShardWrite&& other) noexcept;
  ~ShardWrite();

  bool under_way() const { return written_.valid(); }
  bool done_within(double seconds) const;
  void wait() const { written_.wait(); }
  // Waits for it; then it isn't under way any more.
  WrittenShard take();

 private:
  void leave_behind();

  std::future<WrittenShard> written_;
  std::thread thread_;
};

// A note beside a shard says that it is whole, with its size and hashes, to
// ranks that can't exchange messages any more.
std::string note_of(const std::string& folder, const std::string& file);
// Without hashes if there is no whole one.
WrittenShard read_note(const std::string& folder, const std::string& file);

}  // namespace timepipe
