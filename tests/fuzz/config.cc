#include <filesystem>
#include <map>

#include "launcher/config/config_file.h"
#include "launcher/config/config_text.h"
#include "tests/fuzz/fuzz.h"

// The input is several files, parted by lines "%%% NAME"; the first is the one
// that is read.

namespace timepipe {
namespace {

constexpr const char* kMark = "%%% ";

std::map<std::string, std::string> split(const std::string& input) {
  std::map<std::string, std::string> files;
  std::string* file = &files["first"];
  std::size_t at = 0;
  while (at < input.size()) {
    std::size_t end = input.find('\n', at);
    end = end == std::string::npos ? input.size() : end + 1;
    const std::string line = input.substr(at, end - at);
    if (line.starts_with(kMark)) {
      file = &files[line.substr(4, line.find_last_not_of('\n') - 3)];
    } else {
      *file += line;
    }
    at = end;
  }
  return files;
}

// Chains of bases end, and what they make has no base.
void read_with_bases(const std::map<std::string, std::string>& files) {
  const auto read = [&](const std::string& path) {
    const auto found = files.find(path);
    if (found == files.end()) throw IoError(path + ": not there");
    return found->second;
  };
  fuzz::accepts([&] {
    const auto message = read_config("first", read);
    fuzz::must(!message.has_base(), "the base is merged");
  });
}

}  // namespace
}  // namespace timepipe

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  using namespace timepipe;
  const auto files = split(fuzz::as_text(data, size));
  read_with_bases(files);
  fuzz::text_is_stable(
      files.at("first"),
      [](const std::string& text) { return config_from_text(text, "input"); },
      [](const RunConfig& config) { return to_text(config); });
  return 0;
}
