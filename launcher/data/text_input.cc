// Tells texts from JSON lines, and keeps what comes from a stream.

#include "launcher/data/text_input.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <span>
#include <utility>

#include "runtime/error.h"
#include "runtime/file_kind.h"

namespace timepipe {
namespace {

constexpr char kStandardInput[] = "standard input";

// All that comes from `descriptor`, until its end.
InputFile keep(int descriptor, const std::string& name,
               const std::string& keep_as) {
  NewFile file(keep_as);  // which goes with its .part; its bytes stay
  std::vector<std::byte> block(std::size_t{1} << 20);
  while (true) {
    const ssize_t count = ::read(descriptor, block.data(), block.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw IoError(name + ": " + std::strerror(errno));
    if (count == 0) break;
    file.append(std::span(block).first(static_cast<std::size_t>(count)));
  }
  return InputFile(file.part(), name);
}

bool is_stream(const std::string& path) {
  std::error_code ignored;
  const auto type = std::filesystem::status(path, ignored).type();
  return type == std::filesystem::file_type::fifo ||
         type == std::filesystem::file_type::character;
}

void look_at(TextInput& input, const TextInputOptions& options) {
  const InputFile file = input.open();
  input.bytes = text_of(file).size();
  if (input.bytes == 0) throw IoError(input.path + ": empty");
  if (options.any_bytes) return;
  const FileContents contents = file_contents(input.path, file);
  input.json_lines = contents.kind == FileKind::kJsonLines;
  require(!options.field || contents.kind != FileKind::kText,
          "--field: " + input.path + " is a text, expected JSON lines");
  if (!input.json_lines && contents.kind != FileKind::kText) {
    const std::string expected = "a text or JSON lines";
    if (!input.kept) throw_other_kind(input.path, contents, expected, true);
    throw InvalidArgument(
        input.path + ": " + contents.what + ", expected " + expected +
        (contents.unpack.empty() ? ""
                                 : ": pipe it through " + contents.unpack));
  }
  require(!input.json_lines || options.field || has_json_name(input.path),
          input.path +
              ": its lines are JSON objects: --field text reads one field of "
              "each, --text all bytes as a text");
}

}  // namespace

InputFile TextInput::open() const {
  InputFile file = kept ? *kept : InputFile(path);
  const int64_t now = text_of(file).size();
  if (now < bytes) {
    throw IoError(path + ": " + std::to_string(now) + " bytes, expected " +
                  std::to_string(bytes) +
                  " as when it was looked at: it was cut short");
  }
  return file;
}

std::vector<TextInput> open_inputs(const TextInputOptions& options) {
  require(std::ranges::count(options.paths, "-") <= 1,
          "-: given twice, expected standard input once");
  std::vector<TextInput> inputs;
  for (const std::string& path : options.paths) {
    TextInput input = {.path = path == "-" ? kStandardInput : path};
    if (path == "-") {
      input.kept = keep(STDIN_FILENO, kStandardInput, options.keep_as);
    } else if (is_stream(path)) {
      const FileDescriptor stream(path, O_RDONLY);
      input.kept = keep(stream.get(), path, options.keep_as);
    }
    look_at(input, options);
    inputs.push_back(std::move(input));
  }
  return inputs;
}

}  // namespace timepipe
