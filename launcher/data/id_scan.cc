// Scans token files, and remembers in the run's folder which were scanned.

#include "launcher/data/id_scan.h"

#include <sched.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <stop_token>
#include <utility>

#include "launcher/process/rank_log.h"
#include "runtime/error.h"
#include "runtime/files.h"

namespace timepipe {
namespace {

using nlohmann::ordered_json;

// How a file is known.
ordered_json name_of(const TokenFile& file) {
  const InputFile::Stamp& stamp = file.stamp();
  return {{"path", file.path()},
          {"size_bytes", stamp.size_bytes},
          {"mtime_ns", stamp.mtime_ns},
          {"inode", stamp.inode}};
}

// What a memory says of files: name and "tokens", those looked through from
// the start. Nothing if it is of another vocabulary or no memory.
std::vector<ordered_json> read_memory(const std::string& path,
                                      int64_t vocab_size) {
  try {
    const auto memory = ordered_json::parse(read_text(path));
    if (memory.at("vocab_size") != vocab_size) return {};
    return memory.at("files").get<std::vector<ordered_json>>();
  } catch (const IoError&) {
    return {};
  } catch (const ordered_json::exception&) {
    return {};
  }
}

// Tokens of the file that `known` says were looked through.
int64_t remembered(const std::vector<ordered_json>& known,
                   const TokenFile& file) {
  ordered_json name = name_of(file);
  for (const ordered_json& entry : known) {
    if (!entry.is_object() || !entry.contains("tokens")) continue;
    name["tokens"] = entry["tokens"];
    if (entry != name || !entry["tokens"].is_number_unsigned()) continue;
    return static_cast<int64_t>(
        std::min(entry["tokens"].get<uint64_t>(),
                 static_cast<uint64_t>(file.num_tokens())));
  }
  return 0;
}

}  // namespace

bool ids_are_bounded(const TokenLayout& layout, int64_t vocab_size) {
  if (layout.metadata.contains("vocab_size")) return true;  // was compared
  return (layout.type == StoredToken::kU8 && vocab_size >= 1 << 8) ||
         (layout.type == StoredToken::kU16 && vocab_size >= 1 << 16);
}

IdScan::IdScan(const std::vector<const TokenFile*>& files, int64_t vocab_size,
               const std::string& memory)
    : vocab_size_(vocab_size) {
  const auto known = read_memory(memory, vocab_size);
  std::set<std::pair<uint64_t, uint64_t>> seen;  // device, inode
  for (const TokenFile* file : files) {
    if (ids_are_bounded(file->layout(), vocab_size)) continue;
    const InputFile::Stamp& stamp = file->stamp();
    if (!seen.emplace(stamp.device, stamp.inode).second) continue;
    parts_.push_back({file, remembered(known, *file)});
  }
}

IdScan::~IdScan() {
  if (!thread_.joinable()) return;
  thread_.request_stop();
  thread_.join();
  try {
    write_memory();
  } catch (const std::exception& error) {  // costs the next start some time
    tell(error.what());
  }
}

int64_t IdScan::bytes_left() const {
  int64_t bytes = 0;
  for (const Part& part : parts_) {
    bytes += (part.file->num_tokens() - part.done) *
             bytes_of(part.file->layout().type);
  }
  return bytes;
}

int64_t IdScan::read_some() {
  constexpr int64_t kTokens = 1 << 20, kPieces = 8;
  std::vector<int64_t> ids;
  for (; next_ < parts_.size(); ++next_) {
    Part& part = parts_[next_];
    const int64_t before = part.done, tokens = part.file->num_tokens();
    for (int piece = 0; piece < kPieces && part.done < tokens; ++piece) {
      ids.resize(
          static_cast<std::size_t>(std::min(kTokens, tokens - part.done)));
      part.file->read(part.done, ids, vocab_size_);
      part.done += std::ssize(ids);
    }
    if (part.done == before) continue;
    return (part.done - before) * bytes_of(part.file->layout().type);
  }
  return 0;
}

void IdScan::keep_memory(const std::string& path) {
  memory_ = path;
  write_memory();
}

void IdScan::write_memory() const {
  if (memory_.empty() || parts_.empty()) return;
  ordered_json files = ordered_json::array();
  for (const Part& part : parts_) {
    files.push_back(name_of(*part.file));
    files.back()["tokens"] = static_cast<uint64_t>(part.done);
  }
  const ordered_json memory = {{"vocab_size", vocab_size_}, {"files", files}};
  // A path may be no UTF-8.
  write_file(memory_, memory.dump(1, ' ', false,
                                  ordered_json::error_handler_t::replace) +
                          "\n");
}

void IdScan::go_on_in_background() {
  if (bytes_left() == 0) return;
  running_ = true;
  thread_ = std::jthread([this](const std::stop_token& stop) {
    const sched_param none = {};
    ::sched_setscheduler(0, SCHED_IDLE, &none);  // of this thread
    try {
      while (!stop.stop_requested() && read_some() > 0) {
      }
    } catch (const std::exception&) {
      const std::lock_guard lock(mutex_);
      found_ = std::current_exception();
    }
    running_ = false;
    running_.notify_all();
  });
}

void IdScan::check() const {
  const std::lock_guard lock(mutex_);
  if (found_) std::rethrow_exception(found_);
}

}  // namespace timepipe
