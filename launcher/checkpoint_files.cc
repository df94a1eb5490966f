#include "launcher/checkpoint_files.h"

#include <xxhash.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <filesystem>

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

// The folders of steps with a manifest, or those without, in ascending order.
std::vector<std::pair<int64_t, std::string>> list_steps(
    const std::string& run_dir, bool finished) {
  std::vector<std::pair<int64_t, std::string>> found;
  std::error_code error;
  for (const auto& entry :
       fs::directory_iterator(run_dir + "/checkpoints", error)) {
    const auto steps = steps_of(entry.path().filename().string());
    if (!steps) continue;
    if (fs::exists(entry.path() / "manifest.json", error) != finished) continue;
    found.emplace_back(*steps, entry.path().string());
  }
  std::ranges::sort(found);
  return found;
}

std::string value_text(const Tensor& t, int64_t i) {
  char text[64];
  dispatch(t.dtype(), [&](auto zero) {
    using T = decltype(zero);
    std::snprintf(text, sizeof(text), "%.17g",
                  static_cast<double>(t.data<T>()[i]));
  });
  return text;
}

}  // namespace

std::string checkpoint_folder(const std::string& run_dir, int64_t steps) {
  char name[32];
  std::snprintf(name, sizeof(name), "%s%06lld", kPrefix,
                static_cast<long long>(steps));
  return run_dir + "/checkpoints/" + name;
}

std::vector<std::pair<int64_t, std::string>> list_checkpoints(
    const std::string& run_dir) {
  return list_steps(run_dir, /*finished=*/true);
}

std::vector<std::string> list_unfinished(const std::string& run_dir) {
  std::vector<std::string> folders;
  for (const auto& [steps, folder] : list_steps(run_dir, /*finished=*/false)) {
    folders.push_back(folder);
  }
  return folders;
}

CheckpointReader::CheckpointReader(const std::string& folder)
    : folder_(folder) {
  const std::string path = folder + "/manifest.json";
  manifest_ = parse_manifest(read_text(path), path);
  for (const Parameter& p : manifest_.parameters) offsets_[p.name] = p.offset;
  for (const Manifest::Shard& shard : manifest_.shards) {
    const std::string file = folder + "/" + shard.file;
    std::error_code error;
    const auto size = fs::file_size(file, error);
    if (error) throw IoError(file + ": " + error.message());
    require(size == static_cast<std::uintmax_t>(shard.size_bytes),
            file + ": " + std::to_string(size) + " bytes, expected " +
                std::to_string(shard.size_bytes));
    shards_.push_back(SafetensorsFile::read(file));
  }
}

ConstBytes CheckpointReader::bytes(const Manifest::Piece& piece) const {
  const auto shard = static_cast<std::size_t>(piece.shard);
  const std::string where =
      folder_ + "/" + manifest_.shards[shard].file + ": " + piece.tensor();
  const SafetensorsEntry& entry = shards_[shard].entry(piece.tensor());
  const ConstBytes bytes = shards_[shard].bytes(piece.tensor());
  const std::string dtype = manifest_.dtype == DType::kF64 ? "F64" : "F32";
  require(entry.dtype == dtype && entry.shape == Shape{piece.count},
          where + ": " + entry.dtype + " " + to_string(entry.shape) +
              ", expected " + dtype + " " + to_string(Shape{piece.count}));
  require(trusted_ || XXH64(bytes.data(), bytes.size(), 0) == piece.xxh64,
          where + ": wrong checksum: the file is damaged");
  return bytes;
}

void CheckpointReader::verify(int share, int shares) const {
  int64_t total = 0, before = 0;
  for (const Manifest::Piece& piece : manifest_.pieces) total += piece.count;
  for (const Manifest::Piece& piece : manifest_.pieces) {
    const int64_t middle = before + piece.count / 2;
    before += piece.count;
    if (middle * shares / total == share) bytes(piece);
  }
}

void CheckpointReader::read(const std::string& kind, int64_t begin, int64_t end,
                            Tensor& out) const {
  const auto size = static_cast<std::size_t>(size_of(manifest_.dtype));
  require_shape("out", out, {end - begin});
  for (const Manifest::Piece& piece : manifest_.pieces) {
    if (piece.kind != kind) continue;
    const int64_t offset = offsets_.at(piece.parameter) + piece.first;
    const int64_t from = std::max(begin, offset);
    const int64_t to = std::min(end, offset + piece.count);
    if (from >= to) continue;
    std::memcpy(out.bytes().data() + (from - begin) * size,
                bytes(piece).data() + (from - offset) * size,
                (to - from) * size);
  }
}

std::vector<std::string> checkpoint_candidates(const std::string& path) {
  std::error_code error;
  if (fs::exists(path + "/manifest.json", error)) return {path};
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
  for (const std::string& folder : checkpoint_candidates(path)) {
    try {
      CheckpointReader reader(folder);
      reader.verify();
      reader.trust();
      return reader;
    } catch (const std::exception& broken) {
      if (folder == path) throw;
      say(std::string("broken checkpoint passed over: ") + broken.what());
    }
  }
  throw InvalidArgument(path +
                        ": expected a checkpoint, or a run folder with a valid "
                        "one");
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
  Context ctx;
  for (const std::string& kind : Manifest::kinds()) {
    for (const Parameter& p : x.parameters) {
      Tensor u = ctx.allocate({p.count}, x.dtype);
      Tensor v = ctx.allocate({p.count}, x.dtype);
      a.read(kind, p.offset, p.offset + p.count, u);
      b.read(kind, p.offset, p.offset + p.count, v);
      const auto bits = static_cast<std::size_t>(size_of(x.dtype));
      for (int64_t i = 0; i < p.count; ++i) {
        if (std::memcmp(u.bytes().data() + i * bits,
                        v.bytes().data() + i * bits, bits) == 0) {
          continue;
        }
        return kind + " of " + p.name + ", element " + std::to_string(i) +
               ": " + value_text(u, i) + " and " + value_text(v, i);
      }
    }
  }
  return "";
}

}  // namespace timepipe
