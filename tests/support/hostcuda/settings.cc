#include <hostcuda/settings.h>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace hostcuda {
namespace {

[[noreturn]] void refuse(const char* name, const char* text,
                         const char* expected) {
  std::fprintf(stderr, "hostcuda: %s is \"%s\"; expected %s\n", name, text,
               expected);
  std::_Exit(1);  // Not by the handler that asks for the settings.
}

template <class Int>
void read_number(const char* name, Int least, Int& value) {
  const char* text = std::getenv(name);
  if (text == nullptr) return;
  const char* end = text + std::strlen(text);
  Int number{};
  const auto [stop, error] = std::from_chars(text, end, number);
  if (error != std::errc{} || stop != end || number < least) {
    refuse(name, text, "a whole number that isn't negative");
  }
  value = number;
}

StreamMode read_streams() {
  const char* name = "TIMEPIPE_HOSTCUDA_STREAMS";
  const char* text = std::getenv(name);
  const std::string_view mode = text == nullptr ? "inline" : text;
  if (mode == "inline") return StreamMode::kInline;
  if (mode == "protected") return StreamMode::kProtected;
  if (mode == "threads") return StreamMode::kThreads;
  refuse(name, text, "inline, protected or threads");
}

Settings from_environment() {
  Settings settings;
  settings.streams = read_streams();
  read_number<int64_t>("TIMEPIPE_HOSTCUDA_SEED", 0, settings.seed);
  read_number<std::size_t>("TIMEPIPE_HOSTCUDA_MEMORY", 0, settings.memory);
  read_number("TIMEPIPE_HOSTCUDA_DEVICES", 0, settings.devices);
  read_number("TIMEPIPE_HOSTCUDA_CAPABILITY", 0, settings.capability);
  read_number("TIMEPIPE_HOSTCUDA_DRIVER", 0, settings.driver);
  if (const char* file = std::getenv("TIMEPIPE_HOSTCUDA_LAUNCHES")) {
    settings.launches = file;
  }
  return settings;
}

// Never destroyed: the launches are written when the program ends.
Settings& the_settings() {
  static Settings& settings = *new Settings(from_environment());
  return settings;
}

}  // namespace

const Settings& settings() { return the_settings(); }

void reload_settings() { the_settings() = from_environment(); }

}  // namespace hostcuda
