// Writes a shard in a thread and, where asked, a note of its size and hashes.

#include "launcher/checkpoint/shard_write.h"

#include <xxhash.h>

#include <chrono>
#include <exception>
#include <filesystem>
#include <sstream>
#include <utility>
#include <vector>

#include "runtime/files.h"

namespace timepipe {
namespace {

// "size count hash ... end"
std::string note_text(const WrittenShard& written) {
  std::ostringstream text;
  text << written.size_bytes << ' ' << written.hashes.size();
  for (const uint64_t hash : written.hashes) text << ' ' << hash;
  text << " end\n";
  return text.str();
}

WrittenShard write(const ShardWrite::Shard& shard) {
  WrittenShard written;
  try {
    std::filesystem::create_directories(shard.folder);
    for (const SafetensorsItem& item : shard.items) {
      written.hashes.push_back(XXH64(item.bytes.data(), item.bytes.size(), 0));
    }
    const std::string file = shard.folder + "/" + shard.file;
    write_safetensors(file, shard.items);
    written.size_bytes = static_cast<int64_t>(std::filesystem::file_size(file));
    if (shard.leaves_note) {
      write_file(note_of(shard.folder, shard.file), note_text(written));
    }
  } catch (const std::exception& error) {
    written.error = error.what();
  }
  return written;
}

}  // namespace

ShardWrite::ShardWrite(Shard shard) {
  std::packaged_task<WrittenShard()> task(
      [shard = std::move(shard)] { return write(shard); });
  written_ = task.get_future();
  thread_ = std::thread(std::move(task));
}

ShardWrite& ShardWrite::operator=(ShardWrite&& other) noexcept {
  leave_behind();
  written_ = std::move(other.written_);
  thread_ = std::move(other.thread_);
  return *this;
}

ShardWrite::~ShardWrite() { leave_behind(); }

bool ShardWrite::done_within(double seconds) const {
  return written_.wait_for(std::chrono::duration<double>(seconds)) ==
         std::future_status::ready;
}

WrittenShard ShardWrite::take() {
  WrittenShard written = written_.get();
  thread_.join();
  return written;
}

void ShardWrite::leave_behind() {
  if (!thread_.joinable()) return;
  if (done_within(0)) {
    thread_.join();
    return;
  }
  thread_.detach();
}

std::string note_of(const std::string& folder, const std::string& file) {
  return folder + "/" + file + ".written";
}

WrittenShard read_note(const std::string& folder, const std::string& file) {
  try {
    std::istringstream text(read_text(note_of(folder, file)));
    WrittenShard written;
    std::size_t count = 0;
    text >> written.size_bytes >> count;
    for (uint64_t hash = 0; written.hashes.size() < count && text >> hash;) {
      written.hashes.push_back(hash);
    }
    std::string end;
    if (text >> end && end == "end") return written;
  } catch (const std::exception&) {  // not there yet
  }
  return {};
}

}  // namespace timepipe
