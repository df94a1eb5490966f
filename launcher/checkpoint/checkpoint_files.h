#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "launcher/checkpoint/manifest.h"
#include "launcher/config/config_text.h"
#include "runtime/safetensors.h"

namespace timepipe {

// RUN_DIR/checkpoints/step-000100: the folder of a checkpoint.
std::string checkpoint_folder(const std::string& run_dir, int64_t steps);

// The checkpoints of a run folder that have a manifest, by their steps, in
// ascending order. None are found only where there are none, also while a run
// there makes new ones and removes old ones.
std::vector<std::pair<int64_t, std::string>> list_checkpoints(
    const std::string& run_dir);

// Folders of steps without a manifest: what a killed run or a failed save left,
// or a save that is under way.
std::vector<std::string> list_unfinished(const std::string& run_dir);

// Whether the folder has a manifest. A checkpoint that a run removes loses it
// first.
bool is_checkpoint(const std::string& folder);

// Of a path where no checkpoint was found: throws IoError or InvalidArgument
// that says what is there, and that EXPECTED was expected.
[[noreturn]] void throw_no_checkpoint(const std::string& path,
                                      const std::string& expected);

// A checkpoint on disk, read piece by piece.
class CheckpointReader {
 public:
  // Reads the manifest and the headers of the shards. Throws IoError or
  // InvalidArgument that names the file, also if the folder has the name of
  // another step.
  explicit CheckpointReader(const std::string& folder);

  const Manifest& manifest() const { return manifest_; }
  const std::string& folder() const { return folder_; }

  // What is carried, flat. Throws InvalidArgument naming shard and tensor if
  // its checksum, unless all is trusted, isn't that of the manifest.
  HostArray read(const Manifest::Carried& carried) const;
  // Checks every piece and what is carried, or one of `shares` about equal
  // shares of them.
  void verify(int share = 0, int shares = 1) const;
  // All was verified, here or by other ranks: no checksum again.
  void trust() { trusted_ = true; }
  // Elements [begin, end) of the flat buffer of `kind`, all of one parameter.
  // Throws likewise.
  HostArray read(const std::string& kind, int64_t begin, int64_t end) const;

 private:
  // The file of a piece, or of what is carried, which was checked.
  template <class Part>
  const SafetensorsFile& checked_file(const Part& part) const;

  std::string folder_;
  Manifest manifest_;
  std::vector<SafetensorsFile> shards_;
  std::map<std::string, int64_t> offsets_;  // of the parameters
  bool trusted_ = false;
};

// The folders that `path` may mean, in the order in which they are tried:
// itself if it is a checkpoint, else a run folder's, the newest first.
std::vector<std::string> checkpoint_candidates(const std::string& path);

// The checkpoint that `path` means: itself, or the newest valid one of a run
// folder; what is broken is told to `say`, a line each. A run may go on there:
// if it removes the one that was chosen, they are looked at again. Throws as
// throw_no_checkpoint() if there is none.
CheckpointReader open_checkpoint(
    const std::string& path,
    const std::function<void(const std::string&)>& say);

// The first difference of two checkpoints in counters, weights, optimizer state
// and carried states, as a line; "" if they are the same bits.
std::string first_difference(const CheckpointReader& a,
                             const CheckpointReader& b);

}  // namespace timepipe
