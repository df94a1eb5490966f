// Reads affinity masks, control groups and the topology of CPUs from Linux.

#include "launcher/process/cores.h"

#include <sched.h>
#include <unistd.h>

#ifdef _OPENMP
#include <omp.h>
#endif

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <numeric>
#include <set>
#include <sstream>

#include "runtime/control_groups.h"
#include "runtime/host_memory.h"

namespace timepipe {
namespace {

// The first line; empty if there is no such file.
std::string line_of(const std::string& path) {
  std::string line;
  std::getline(std::ifstream(path) >> std::ws, line);
  return line;
}

// "0-3,8,10-11" as the kernel writes it.
std::vector<int64_t> numbers_of(const std::string& list) {
  std::vector<int64_t> numbers;
  std::istringstream text(list);
  for (std::string part; std::getline(text, part, ',');) {
    int64_t first = 0, last = 0;
    char dash = 0;
    std::istringstream range(part);
    if (!(range >> first)) break;
    if (!(range >> dash >> last)) last = first;
    for (; first <= last; ++first) numbers.push_back(first);
  }
  return numbers;
}

std::vector<int64_t> cores_of(const std::vector<int64_t>& cpus,
                              const std::string& root) {
  std::set<int64_t> cores;
  for (const int64_t cpu : cpus) {
    const std::string topology = root + "/sys/devices/system/cpu/cpu" +
                                 std::to_string(cpu) + "/topology/";
    // The older of two names of the same list.
    const auto siblings =
        numbers_of(line_of(topology + "thread_siblings_list"));
    cores.insert(siblings.empty() ? cpu : siblings.front());
  }
  return {cores.begin(), cores.end()};
}

// Thousandths of a core that the group in this folder may take; 0: no limit.
int64_t limit_in(const std::string& folder) {
  double quota = -1, period = -1;  // microseconds; "max" is no number
  std::istringstream(line_of(folder + "/cpu.max")) >> quota >> period;
  if (!(quota > 0 && period > 0)) {
    std::istringstream(line_of(folder + "/cpu.cfs_quota_us")) >> quota;
    std::istringstream(line_of(folder + "/cpu.cfs_period_us")) >> period;
  }
  if (!(quota > 0 && period > 0)) return 0;
  return std::max<int64_t>(std::llround(1000 * quota / period), 1);
}

std::vector<Cores::Limit> limits_of_groups(const std::string& root) {
  std::vector<Cores::Limit> limits;
  for (const ControlGroup& group : control_groups("cpu", root)) {
    const int64_t limit = limit_in(group.folder);
    if (limit > 0) limits.push_back({group.id, limit});
  }
  return limits;
}

// Those that the machine has on and the control group doesn't keep from us.
int64_t cores_of_host(const std::vector<int64_t>& own,
                      const std::string& root) {
  auto cpus = numbers_of(line_of(root + "/sys/devices/system/cpu/online"));
  for (const ControlGroup& group : control_groups("cpuset", root)) {
    for (const char* name :
         {"/cpuset.cpus.effective", "/cpuset.effective_cpus", "/cpuset.cpus"}) {
      const auto allowed = numbers_of(line_of(group.folder + name));
      if (allowed.empty()) continue;
      std::erase_if(cpus, [&](int64_t cpu) {
        return !std::ranges::binary_search(allowed, cpu);
      });
      break;
    }
  }
  return static_cast<int64_t>(
      std::max(cores_of(cpus, root).size(), own.size()));
}

// Of any number of CPUs; empty if the kernel doesn't tell.
std::vector<int64_t> affinity_mask() {
  for (int64_t most = 1024; most <= int64_t{1} << 20; most *= 2) {
    std::vector<cpu_set_t> mask(CPU_ALLOC_SIZE(most) / sizeof(cpu_set_t));
    const std::size_t size = mask.size() * sizeof(cpu_set_t);
    if (sched_getaffinity(0, size, mask.data()) != 0) {
      if (errno == EINVAL) continue;  // more CPUs than that
      break;
    }
    std::vector<int64_t> cpus;
    for (int64_t cpu = 0; cpu < most; ++cpu) {
      if (CPU_ISSET_S(cpu, size, mask.data())) cpus.push_back(cpu);
    }
    return cpus;
  }
  return {};
}

}  // namespace

std::vector<int64_t> cpus_of_this_process() {
  std::vector<int64_t> cpus;
#ifdef _OPENMP
  // With OMP_PROC_BIND and the like the mask is this thread's place alone.
  if (omp_get_proc_bind() != omp_proc_bind_false) {
    for (int place = 0; place < omp_get_num_places(); ++place) {
      std::vector<int> ids(omp_get_place_num_procs(place));
      omp_get_place_proc_ids(place, ids.data());
      cpus.insert(cpus.end(), ids.begin(), ids.end());
    }
  }
#endif
  if (cpus.empty()) cpus = affinity_mask();
  if (cpus.empty()) {
    cpus.resize(std::max(sysconf(_SC_NPROCESSORS_ONLN), 1L));
    std::iota(cpus.begin(), cpus.end(), 0);
  }
  return cpus;
}

void set_affinity_mask(const std::vector<int64_t>& cpus) {
  const auto most = static_cast<std::size_t>(std::ranges::max(cpus));
  std::vector<cpu_set_t> mask(most / CPU_SETSIZE + 1);
  const std::size_t size = mask.size() * sizeof(cpu_set_t);
  for (const int64_t cpu : cpus) CPU_SET_S(cpu, size, mask.data());
  sched_setaffinity(0, size, mask.data());
}

Cores read_cores(const std::vector<int64_t>& cpus, const std::string& root) {
  Cores cores{.host = host_id(root),
              .cores = cores_of(cpus, root),
              .limits = limits_of_groups(root)};
  cores.of_host = cores_of_host(cores.cores, root);
  return cores;
}

}  // namespace timepipe
