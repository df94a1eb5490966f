#include "runtime/control_groups.h"

#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <sstream>

namespace timepipe {
namespace {

bool contains(const std::string& comma_list, const std::string& word) {
  return ("," + comma_list + ",").find("," + word + ",") != std::string::npos;
}

// Where a controller's groups are mounted, and which of them is there.
struct Mount {
  std::string folder, group;
};

// The mounts of version 2 and of version 1's hierarchy of the controller.
// /proc/self/mountinfo: ID PARENT DEVICE GROUP FOLDER OPTIONS [...] - TYPE
// SOURCE OPTIONS.
std::vector<Mount> mounts_of(const std::string& controller, bool second,
                             const std::string& root) {
  std::vector<Mount> mounts;
  std::ifstream file(root + "/proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    std::istringstream fields(line);
    Mount mount;
    std::string skipped, type, options;
    fields >> skipped >> skipped >> skipped >> mount.group >> mount.folder;
    while (fields >> skipped && skipped != "-") continue;
    fields >> type >> skipped >> options;
    if (second ? type == "cgroup2"
               : type == "cgroup" && contains(options, controller)) {
      mounts.push_back(mount);
    }
  }
  return mounts;
}

// Unless it isn't there, or is there under another name.
void add_group(const std::string& folder, std::vector<ControlGroup>& groups) {
  struct stat status = {};
  if (::stat(folder.c_str(), &status) != 0) return;
  const uint64_t id = status.st_ino ^ (uint64_t{status.st_dev} << 40);
  if (std::ranges::find(groups, id, &ControlGroup::id) != groups.end()) return;
  groups.push_back({folder, id});
}

}  // namespace

// /proc/self/cgroup: HIERARCHY:CONTROLLERS:PATH.
std::vector<ControlGroup> control_groups(const std::string& controller,
                                         const std::string& root) {
  std::vector<ControlGroup> groups;
  std::ifstream file(root + "/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const auto colon = line.find(':'), next = line.find(':', colon + 1);
    if (next == std::string::npos) continue;
    const std::string controllers = line.substr(colon + 1, next - colon - 1);
    const std::string path = line.substr(next + 1);
    const bool second = controllers.empty();
    if (!second && !contains(controllers, controller)) continue;
    for (const Mount& mount : mounts_of(controller, second, root)) {
      const std::string above = mount.group == "/" ? "" : mount.group;
      std::string below =
          path.starts_with(above + "/") ? path.substr(above.size()) : "";
      for (; below.size() > 1; below.resize(below.rfind('/'))) {
        add_group(root + mount.folder + below, groups);
      }
      add_group(root + mount.folder, groups);
    }
  }
  return groups;
}

}  // namespace timepipe
