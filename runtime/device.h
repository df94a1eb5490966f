#pragma once

#include <cstdint>
#include <string>

namespace timepipe {

// Where memory lies and kernels run.
struct Device {
  enum class Kind : uint8_t { kCpu, kCuda };

  Kind kind = Kind::kCpu;
  int index = 0;  // among those of its kind

  bool operator==(const Device&) const = default;
};

std::string to_string(Device device);  // "cpu", "cuda:1"

}  // namespace timepipe
