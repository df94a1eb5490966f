// Before anything is allocated: does the plan of all ranks fit their hosts,
// control groups and devices?

#include "launcher/run/memory_check.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "launcher/process/job.h"
#include "runtime/byte_text.h"
#include "runtime/device_facts.h"
#include "runtime/error.h"
#include "runtime/host_memory.h"

namespace timepipe {

std::string memory_shortage(const std::vector<RankMemory>& ranks) {
  struct Group {
    int64_t ranks = 0, first = 0, needed = 0, available = 0;
  };
  // By host, whether it is a device, and group or device there.
  std::map<std::tuple<uint64_t, bool, uint64_t>, Group> groups;
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    const auto add = [&](Group& group, int64_t needed, int64_t available) {
      if (group.ranks++ == 0) {
        group.first = static_cast<int64_t>(r);
        group.available = available;
      }
      group.needed += needed;
      group.available = std::min(group.available, available);
    };
    const RankMemory& rank = ranks[r];
    for (const RankMemory::Limit& limit : rank.limits) {
      add(groups[{rank.host, false, limit.group}], rank.needed,
          limit.available);
    }
    if (!rank.device) continue;
    add(groups[{rank.host, true, rank.device->id}], rank.device->needed,
        rank.device->available);
  }
  const auto shortage = [](const auto& entry) {
    return entry.second.needed - entry.second.available;
  };
  const auto worst = std::ranges::max_element(groups, {}, shortage);
  if (worst == groups.end() || shortage(*worst) <= 0) return "";
  const auto& [key, group] = *worst;
  const auto& [host, is_device, number] = key;
  const bool control_group = !is_device && number != 0;
  const char* const whose = is_device       ? "device"
                            : control_group ? "control group"
                                            : "host";
  return std::to_string(group.ranks) + " rank(s) of the " + whose +
         " of rank " + std::to_string(group.first) + " need " +
         byte_text(group.needed) + ", expected at most the " +
         byte_text(group.available) + " that " +
         (control_group ? "its limit leaves" : "it has available") + ": " +
         byte_text(shortage(*worst)) + " too much";
}

std::string memory_advice(const MemoryPlan& plan) {
  const auto parts = plan.parts();
  const auto most =
      std::ranges::max_element(parts, {}, &MemoryPlan::Part::second);
  const std::string text = "most is " + std::string(most->first) + ", " +
                           byte_text(most->second) + " on this rank: ";
  if (most->second == plan.borders || most->second == plan.step) {
    return text +
           "a larger train.chunk_tokens or a smaller data.micro_batch takes "
           "less "
           "of it";
  }
  if (most->second == plan.activations || most->second == plan.scratch) {
    return text + "a smaller train.chunk_tokens" +
           (most->second == plan.activations ? ", train.hot_rounds" : "") +
           " or data.micro_batch takes less of it";
  }
  if (most->second == plan.optimizer) {
    return text + "more hosts (parallel.time, parallel.data) share it";
  }
  return text + "fewer ranks on a host, or a smaller model, take less of it";
}

void require_memory(Communicator& world, const MemoryPlan& mine,
                    Device device) {
  std::vector<RankMemory::Limit> own;
  RankMemory::OnDevice on_device{0, mine.device_bytes(), 0};
  prepare_together(world, [&] {
    if (device != Device{}) {
      const DeviceFacts facts = facts_of(device);
      on_device.id = facts.id;
      on_device.available = facts.free_bytes;
    }
    for (const AvailableMemory& limit : memory_limits()) {
      own.push_back({limit.group, limit.bytes});
    }
  });
  const auto hosts = gather_values(world, host_id());
  const auto needed = gather_values(world, mine.host_bytes());
  const auto counts = gather_values(world, std::ssize(own));
  const auto limits = gather_values(world, own, counts);
  const auto devices = gather_values(world, on_device);
  std::vector<RankMemory> ranks;
  auto next = limits.begin();
  for (std::size_t r = 0; r < hosts.size(); ++r) {
    ranks.push_back({hosts[r], needed[r], {next, next + counts[r]}});
    next += counts[r];
    if (device != Device{}) ranks.back().device = devices[r];
  }
  const std::string shortage = memory_shortage(ranks);
  require(shortage.empty(), "memory: ", shortage, "; ", memory_advice(mine),
          "; `timepipe plan` shows what others take, "
          "parallel.check_memory=false starts anyway");
}

}  // namespace timepipe
