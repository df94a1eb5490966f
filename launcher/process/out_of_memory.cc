// The line that a program ends with when the system gives no more memory.

#include "launcher/process/out_of_memory.h"

#include <sys/resource.h>

#include <cstdint>
#include <fstream>
#include <new>

#include "runtime/byte_text.h"

namespace timepipe {
namespace {

// "VmRSS", "VmSize"; 0 if it isn't known.
int64_t bytes_of(const std::string& field) {
  std::ifstream status("/proc/self/status");
  std::string name;
  int64_t kib = 0;
  while (status >> name) {
    if (name == field + ":" && status >> kib) return kib * 1024;
  }
  return 0;
}

}  // namespace

std::string line_of(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error) == nullptr) {
    return error.what();
  }
  std::string text =
      "out of memory: this process holds " + byte_text(bytes_of("VmRSS"));
  rlimit limit = {};
  if (::getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
    text += " and has " + byte_text(bytes_of("VmSize")) + " of " +
            byte_text(static_cast<int64_t>(limit.rlim_cur)) +
            " of addresses (ulimit -v)";
  }
  return text;
}

}  // namespace timepipe
