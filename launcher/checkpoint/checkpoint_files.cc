// Finds, reads, verifies and compares checkpoints.

#include "launcher/checkpoint/checkpoint_files.h"

#include <xxhash.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "launcher/config/config_text.h"
#include "launcher/huggingface/hf_folder.h"
#include "runtime/error.h"
#include "runtime/files.h"

namespace timepipe {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPrefix = "step-";

// The number in "step-000100"; none for another name.
std::optional<int64_t> steps_of(const std::string& name) {
  if (!name.starts_with(kPrefix)) return std::nullopt;
  int64_t steps = 0;
  const char* end = name.data() + name.size();
  const auto result =
      std::from_chars(name.data() + std::strlen(kPrefix), end, steps);
  if (result.ec != std::errc() || result.ptr != end) return std::nullopt;
  return steps;
}

// A folder of a step, finished if it has a manifest.
struct StepFolder {
  int64_t steps;
  std::string path;
  bool finished;

  auto operator<=>(const StepFolder&) const = default;
};

// In ascending order.
std::vector<StepFolder> list_steps(const std::string& run_dir) {
  std::vector<StepFolder> found;
  std::error_code error;
  fs::directory_iterator entry(run_dir + "/checkpoints", error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    const std::string path = entry->path().string();
    const auto steps = steps_of(entry->path().filename().string());
    if (steps) found.push_back({*steps, path, is_checkpoint(path)});
  }
  std::ranges::sort(found);
  return found;
}

// The first element in which they differ, as a text; "" if there is none.
std::string first_different_element(const HostArray& a, const HostArray& b) {
  std::string text;
  dispatch(a.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const std::span<const T> u = a.values<T>(), v = b.values<T>();
    const ConstBytes x = std::as_bytes(u), y = std::as_bytes(v);
    for (std::size_t i = 0; i < u.size(); ++i) {
      const std::size_t begin = i * sizeof(T);
      if (std::ranges::equal(x.subspan(begin, sizeof(T)),
                             y.subspan(begin, sizeof(T)))) {
        continue;
      }
      char line[128];
      std::snprintf(line, sizeof(line), "element %zu: %.17g and %.17g", i,
                    static_cast<double>(u[i]), static_cast<double>(v[i]));
      text = line;
      return;
    }
  });
  return text;
}

// xxh64 of a tensor's bytes, a block at a time.
uint64_t hash_of(const SafetensorsFile& file, const SafetensorsEntry& entry) {
  constexpr int64_t kBlock = 1 << 20;
  const std::unique_ptr<XXH64_state_t, XXH_errorcode (*)(XXH64_state_t*)> state(
      XXH64_createState(), XXH64_freeState);
  XXH64_reset(state.get(), 0);
  std::vector<std::byte> block;
  for (int64_t at = entry.begin; at < entry.end; at += kBlock) {
    block.resize(static_cast<std::size_t>(std::min(kBlock, entry.end - at)));
    file.read(entry.name, at - entry.begin, block);
    XXH64_update(state.get(), block.data(), block.size());
  }
  return XXH64_digest(state.get());
}

// Of what sequences carry on; "" if there is none.
std::string first_carried_difference(const CheckpointReader& a,
                                     const CheckpointReader& b) {
  std::map<std::string, const Manifest::Carried*> left;  // by name
  for (const auto& c : b.manifest().carried) left[c.tensor()] = &c;
  for (const Manifest::Carried& c : a.manifest().carried) {
    const auto found = left.find(c.tensor());
    if (found == left.end()) return c.tensor() + ": only in " + a.folder();
    const Manifest::Carried& other = *found->second;
    left.erase(found);
    if (c.steps != other.steps || c.count != other.count) {
      return c.tensor() + ": steps, elements: " + std::to_string(c.steps) +
             ", " + std::to_string(c.count) + " and " +
             std::to_string(other.steps) + ", " + std::to_string(other.count);
    }
    const std::string difference =
        first_different_element(a.read(c), b.read(other));
    if (!difference.empty()) return c.tensor() + ", " + difference;
  }
  if (left.empty()) return "";
  return left.begin()->first + ": only in " + b.folder();
}

}  // namespace

std::string checkpoint_folder(const std::string& run_dir, int64_t steps) {
  char name[32];
  std::snprintf(name, sizeof(name), "%s%06lld", kPrefix,
                static_cast<long long>(steps));
  return run_dir + "/checkpoints/" + name;
}

bool is_checkpoint(const std::string& folder) {
  std::error_code unknown;
  return fs::exists(folder + "/manifest.json", unknown);
}

std::vector<std::pair<int64_t, std::string>> list_checkpoints(
    const std::string& run_dir) {
  std::vector<std::pair<int64_t, std::string>> finished;
  // A run at work may finish a folder just after we looked at it and remove an
  // older one before we do: look until two listings are the same.
  for (std::vector<StepFolder> before; finished.empty();) {
    auto now = list_steps(run_dir);
    for (const StepFolder& folder : now) {
      if (folder.finished) finished.emplace_back(folder.steps, folder.path);
    }
    if (now == before) break;
    before = std::move(now);
  }
  return finished;
}

std::vector<std::string> list_unfinished(const std::string& run_dir) {
  std::vector<std::string> folders;
  for (const StepFolder& folder : list_steps(run_dir)) {
    if (!folder.finished) folders.push_back(folder.path);
  }
  return folders;
}

void throw_no_checkpoint(const std::string& path, const std::string& expected) {
  const std::string end = ", expected " + expected;
  if (!fs::is_directory(path)) throw IoError(path + ": no such folder" + end);
  // "r1" of "r1/checkpoints/", ".." of ".".
  const std::string parent =
      ((fs::path(path) / "..").lexically_normal() / "").parent_path().string();
  std::string what = "no checkpoints";
  if (is_hf_folder(path)) {
    what = "a Hugging Face folder";
  } else if (is_checkpoint(path)) {
    what = "a checkpoint";
  } else if (!list_checkpoints(path).empty()) {
    what = "no valid checkpoint";
  } else if (fs::canonical(path).filename() == "checkpoints" &&
             !list_checkpoints(parent).empty()) {
    what = "the checkpoints' folder of a run: RUN_DIR is " + parent;
  }
  throw InvalidArgument(path + ": " + what + end);
}

CheckpointReader::CheckpointReader(const std::string& folder)
    : folder_(folder) {
  const std::string path = folder + "/manifest.json";
  manifest_ = parse_manifest(read_text(path), path);
  const auto named = steps_of(fs::path(path).parent_path().filename().string());
  require(!named || *named == manifest_.steps, path,
          ": steps: ", manifest_.steps, ", expected ", named.value_or(0),
          ", of which the folder has the name");
  for (const Parameter& p : manifest_.parameters) offsets_[p.name] = p.offset;
  for (const Manifest::Shard& shard : manifest_.shards) {
    const std::string file = folder + "/" + shard.file;
    std::error_code error;
    const auto size = fs::file_size(file, error);
    if (error) throw IoError(file + ": " + error.message());
    require(size == static_cast<std::uintmax_t>(shard.size_bytes), file, ": ",
            size, " bytes, expected ", shard.size_bytes);
    shards_.push_back(SafetensorsFile::read(file));
  }
}

template <class Part>
const SafetensorsFile& CheckpointReader::checked_file(const Part& part) const {
  const auto shard = static_cast<std::size_t>(part.shard);
  const std::string tensor = part.tensor();
  const std::string where =
      folder_ + "/" + manifest_.shards[shard].file + ": " + tensor;
  const SafetensorsEntry& entry = shards_[shard].entry(tensor);
  const std::string dtype = manifest_.dtype == DType::kF64 ? "F64" : "F32";
  require(entry.dtype == dtype && entry.shape == Shape{part.count}, where, ": ",
          entry.dtype, " ", entry.shape, ", expected ", dtype, " ",
          Shape{part.count});
  require(trusted_ || hash_of(shards_[shard], entry) == part.xxh64, where,
          ": wrong checksum: the file is damaged");
  return shards_[shard];
}

HostArray CheckpointReader::read(const Manifest::Carried& carried) const {
  return checked_file(carried).get(carried.tensor());
}

void CheckpointReader::verify(int share, int shares) const {
  int64_t total = 0, before = 0;
  for (const Manifest::Piece& piece : manifest_.pieces) total += piece.count;
  for (const Manifest::Piece& piece : manifest_.pieces) {
    const int64_t middle = before + piece.count / 2;
    before += piece.count;
    if (middle * shares / total == share) checked_file(piece);
  }
  for (std::size_t i = 0; i < manifest_.carried.size(); ++i) {
    if (static_cast<int>(i % static_cast<std::size_t>(shares)) == share) {
      checked_file(manifest_.carried[i]);
    }
  }
}

HostArray CheckpointReader::read(const std::string& kind, int64_t begin,
                                 int64_t end) const {
  const int64_t size = size_of(manifest_.dtype);
  HostArray out({end - begin}, manifest_.dtype);
  for (const Manifest::Piece& piece : manifest_.pieces) {
    if (piece.kind != kind) continue;
    const int64_t offset = offsets_.at(piece.parameter) + piece.first;
    const int64_t from = std::max(begin, offset);
    const int64_t to = std::min(end, offset + piece.count);
    if (from >= to) continue;
    checked_file(piece).read(
        piece.tensor(), (from - offset) * size,
        out.bytes().subspan((from - begin) * size, (to - from) * size));
  }
  return out;
}

std::vector<std::string> checkpoint_candidates(const std::string& path) {
  if (is_checkpoint(path)) return {path};
  std::vector<std::string> folders;
  for (auto& [steps, folder] : list_checkpoints(path)) {
    folders.push_back(std::move(folder));
  }
  std::ranges::reverse(folders);
  return folders;
}

CheckpointReader open_checkpoint(
    const std::string& path,
    const std::function<void(const std::string&)>& say) {
  std::set<std::string> broken;
  for (bool gone = true; gone;) {
    gone = false;
    for (const std::string& folder : checkpoint_candidates(path)) {
      if (broken.contains(folder)) continue;
      try {
        CheckpointReader reader(folder);
        reader.verify();
        reader.trust();
        return reader;
      } catch (const std::exception& error) {
        if (folder == path) throw;
        gone = !is_checkpoint(folder);
        if (gone) break;
        say(std::string("broken checkpoint passed over: ") + error.what());
        broken.insert(folder);
      }
    }
  }
  throw_no_checkpoint(path, "a checkpoint, or a run folder with a valid one");
}

std::string first_difference(const CheckpointReader& a,
                             const CheckpointReader& b) {
  const Manifest &x = a.manifest(), &y = b.manifest();
  try {
    require_same_parameters(b.folder(), y.parameters, x.parameters);
  } catch (const InvalidArgument& difference) {
    return difference.what();
  }
  const auto differ = [](const std::string& what, const auto& p,
                         const auto& q) {
    return what + ": " + std::to_string(p) + " and " + std::to_string(q);
  };
  if (x.dtype != y.dtype) {
    return std::string("dtype: ") + name_of(x.dtype) + " and " +
           name_of(y.dtype);
  }
  if (x.steps != y.steps) return differ("steps", x.steps, y.steps);
  if (x.skipped_steps != y.skipped_steps) {
    return differ("skipped_steps", x.skipped_steps, y.skipped_steps);
  }
  if (x.updates != y.updates) return differ("updates", x.updates, y.updates);
  for (const std::string& kind : Manifest::kinds()) {
    for (const Parameter& p : x.parameters) {
      const int64_t end = p.offset + p.count;
      const std::string difference = first_different_element(
          a.read(kind, p.offset, end), b.read(kind, p.offset, end));
      if (!difference.empty()) {
        return kind + " of " + p.name + ", " + difference;
      }
    }
  }
  return first_carried_difference(a, b);
}

}  // namespace timepipe
