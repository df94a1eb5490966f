#include "tests/support/test_device.h"

#include <glog/logging.h>

#include <cstdlib>
#include <optional>

namespace timepipe::testing {

Device test_device() {
  const char* const name = std::getenv("TIMEPIPE_TEST_DEVICE");
  if (name == nullptr) return {};
  const std::optional<Device> device = device_named(name);
  CHECK(device) << "TIMEPIPE_TEST_DEVICE: " << name
                << ", expected cpu, cuda or cuda:N";
  return *device;
}

}  // namespace timepipe::testing
