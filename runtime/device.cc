#include "runtime/device.h"

#include <charconv>

namespace timepipe {

std::optional<Device> device_named(std::string_view name) {
  if (name == "cpu") return Device{};
  Device device{.kind = Device::Kind::kCuda, .index = 0};
  if (name == "cuda") return device;
  constexpr std::string_view kBefore = "cuda:";
  if (!name.starts_with(kBefore)) return std::nullopt;
  const char* const end = name.data() + name.size();
  const auto [rest, error] =
      std::from_chars(name.data() + kBefore.size(), end, device.index);
  if (error != std::errc{} || rest != end || device.index < 0) {
    return std::nullopt;
  }
  return device;
}

}  // namespace timepipe
