// Before anything is allocated: does the plan of all ranks fit their hosts?

#include "launcher/run/memory_check.h"

#include <algorithm>
#include <map>

#include "launcher/process/job.h"
#include "runtime/byte_text.h"
#include "runtime/error.h"
#include "runtime/host_memory.h"

namespace timepipe {

std::string memory_shortage(const std::vector<RankMemory>& ranks) {
  struct Host {
    int64_t ranks = 0, first = 0, needed = 0, available = 0;
  };
  std::map<uint64_t, Host> hosts;
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    Host& host = hosts[ranks[r].host];
    if (host.ranks++ == 0) {
      host.first = static_cast<int64_t>(r);
      host.available = ranks[r].available;
    }
    host.needed += ranks[r].needed;
    host.available = std::min(host.available, ranks[r].available);
  }
  const auto shortage = [](const auto& entry) {
    return entry.second.needed - entry.second.available;
  };
  const auto worst = std::ranges::max_element(hosts, {}, shortage);
  if (worst == hosts.end() || shortage(*worst) <= 0) return "";
  const Host& host = worst->second;
  return std::to_string(host.ranks) + " rank(s) of the host of rank " +
         std::to_string(host.first) + " need " + byte_text(host.needed) +
         ", expected at most the " + byte_text(host.available) +
         " that it has available: " + byte_text(shortage(*worst)) + " too much";
}

std::string memory_advice(const MemoryPlan& plan) {
  const auto parts = plan.parts();
  const auto most =
      std::ranges::max_element(parts, {}, &MemoryPlan::Part::second);
  const std::string text = "most is " + std::string(most->first) + ", " +
                           byte_text(most->second) + " on this rank: ";
  if (most->second == plan.borders || most->second == plan.step) {
    return text + "a larger train.chunk_tokens takes less of it";
  }
  if (most->second == plan.activations || most->second == plan.scratch) {
    return text + "a smaller train.chunk_tokens" +
           (most->second == plan.activations ? " or train.hot_rounds" : "") +
           " takes less of it";
  }
  if (most->second == plan.optimizer) {
    return text + "more hosts (parallel.time, parallel.data) share it";
  }
  return text + "fewer ranks on a host, or a smaller model, take less of it";
}

void require_memory(Communicator& world, const MemoryPlan& mine) {
  AvailableMemory here{};
  prepare_together(world, [&] { here = available_memory(); });
  const auto hosts = gather_values(world, host_id());
  const auto needed = gather_values(world, mine.total());
  const auto available = gather_values(world, here.bytes);
  std::vector<RankMemory> ranks;
  for (std::size_t r = 0; r < hosts.size(); ++r) {
    ranks.push_back({hosts[r], needed[r], available[r]});
  }
  const std::string shortage = memory_shortage(ranks);
  require(shortage.empty(), "memory: " + shortage + " (" + here.limit + "); " +
                                memory_advice(mine) +
                                "; `timepipe plan` shows what others take, "
                                "parallel.check_memory=false starts anyway");
}

}  // namespace timepipe
