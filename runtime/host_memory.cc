// Reads from Linux how much memory is available.

#include "runtime/host_memory.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <functional>
#include <optional>
#include <sstream>

#include "runtime/control_groups.h"
#include "runtime/error.h"

namespace timepipe {
namespace {

// The number after `key` in a file of lines "key number ...", or the file's
// first word without a key; none if it isn't there or no number ("max").
std::optional<int64_t> number_in(const std::string& path,
                                 const std::string& key = "") {
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    std::istringstream words(line);
    std::string first;
    if (!key.empty() && (!(words >> first) || first != key)) continue;
    int64_t number = 0;
    if (words >> number) return number;
    return std::nullopt;
  }
  return std::nullopt;
}

// Names of the files of a group; those of version 1 and 2 differ.
struct Names {
  const char *limit, *used;
  const char *inactive, *active;  // keys of memory.stat: pages of files
};
constexpr Names kVersions[] = {
    {"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file",
     "total_active_file"},
    {"memory.max", "memory.current", "inactive_file", "active_file"}};

void add_limit(const ControlGroup& group, const Names& names,
               std::vector<AvailableMemory>& limits) {
  const std::string limit_file = group.folder + "/" + names.limit;
  const auto limit = number_in(limit_file);
  const auto used = number_in(group.folder + "/" + names.used);
  if (!limit || !used) return;
  const std::string stat = group.folder + "/memory.stat";
  const int64_t files = number_in(stat, names.inactive).value_or(0) +
                        number_in(stat, names.active).value_or(0);
  const int64_t left = *limit - *used + std::min(files, *used);
  limits.push_back({std::max<int64_t>(left, 0), limit_file, group.id});
}

}  // namespace

std::vector<AvailableMemory> memory_limits(const std::string& root) {
  const std::string meminfo = root + "/proc/meminfo";
  const auto kib = number_in(meminfo, "MemAvailable:");
  if (!kib) throw IoError(meminfo + ": no MemAvailable, expected in KiB");
  std::vector<AvailableMemory> limits = {{*kib * 1024, meminfo}};
  for (const ControlGroup& group : control_groups("memory", root)) {
    for (const Names& names : kVersions) add_limit(group, names, limits);
  }
  return limits;
}

AvailableMemory available_memory(const std::string& root) {
  return std::ranges::min(memory_limits(root), {}, &AvailableMemory::bytes);
}

uint64_t host_id(const std::string& root) {
  std::ifstream file(root + "/proc/sys/kernel/random/boot_id");
  std::string id;
  if (!std::getline(file, id)) {
    std::array<char, 256> name = {};
    gethostname(name.data(), name.size() - 1);
    id = name.data();
  }
  return std::hash<std::string>()(id);
}

}  // namespace timepipe
