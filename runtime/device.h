#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace timepipe {

// Where memory lies and kernels run.
struct Device {
  enum class Kind : uint8_t { kCpu, kCuda };

  Kind kind = Kind::kCpu;
  int index = 0;  // among those of its kind, as CUDA numbers them

  bool operator==(const Device&) const = default;
};

std::string to_string(Device device);  // "cpu", "cuda:1"
// The other way; "cuda" is "cuda:0". Empty for what is no device's name.
std::optional<Device> device_named(std::string_view name);

}  // namespace timepipe
