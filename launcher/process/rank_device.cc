// Which device a rank works on, and who shares it.

#include "launcher/process/rank_device.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "runtime/byte_text.h"
#include "runtime/device_facts.h"
#include "runtime/error.h"
#include "runtime/host_memory.h"

namespace timepipe {

Device device_of_rank(Communicator& world, const std::string& name) {
  const std::optional<Device> named = device_named(name);
  require(named.has_value(), "device: ", name,
          ", expected cpu, cuda or cuda:N");
  if (name != "cuda") return *named;
  const auto hosts = gather_values(world, host_id());
  const auto before = std::count(hosts.begin(), hosts.begin() + world.rank(),
                                 hosts[world.rank()]);
  // A launcher may have left each rank a device of its own.
  const int devices = std::max(num_cuda_devices(), 1);
  return {.kind = Device::Kind::kCuda,
          .index = static_cast<int>(before % devices)};
}

JobDevices describe_devices(Communicator& world, Device device) {
  if (device == Device{}) return {to_string(device), ""};
  const DeviceFacts facts = facts_of(device);
  JobDevices said{to_string(device) + " (" + facts.name + ", " +
                      byte_text(facts.total_bytes) + ")",
                  ""};
  const auto hosts = gather_values(world, host_id());
  const auto ids = gather_values(world, facts.id);
  std::vector<std::pair<uint64_t, uint64_t>> all;
  for (std::size_t r = 0; r < ids.size(); ++r) {
    all.emplace_back(hosts[r], ids[r]);
  }
  const auto sharers = [&](const auto& one) {
    return std::ranges::count(all, one);
  };
  const auto most = std::ranges::max_element(all, {}, sharers);
  if (const auto ranks = sharers(*most); ranks > 1) {
    said.warning = std::to_string(ranks) + " ranks share the device of rank " +
                   std::to_string(most - all.begin()) +
                   ": they take turns on it";
  }
  return said;
}

}  // namespace timepipe
