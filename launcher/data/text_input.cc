// Tells texts from JSON lines, and keeps what comes from a stream.

#include "launcher/data/text_input.h"

#include <algorithm>
#include <utility>

#include "runtime/error.h"
#include "runtime/file_kind.h"

namespace timepipe {
namespace {

InputFile keep(const std::string& stream, const std::string& keep_as) {
  NewFile file(keep_as);
  read_stream(stream, [&](ConstBytes bytes) { file.append(bytes); });
  return file.read_back(name_of_stream(stream));
}

void look_at(TextInput& input, const TextInputOptions& options) {
  const InputFile file = input.open();
  input.bytes = text_of(file).size();
  if (input.bytes == 0) throw IoError(input.path + ": empty");
  if (options.any_bytes) return;
  const FileContents contents = file_contents(input.path, file);
  input.json_lines = contents.kind == FileKind::kJsonLines;
  require(!options.field || contents.kind != FileKind::kText,
          "--field: ", input.path, " is a text, expected JSON lines");
  if (!input.json_lines && contents.kind != FileKind::kText) {
    const std::string expected = "a text or JSON lines";
    if (!input.kept) throw_other_kind(input.path, contents, expected, true);
    throw InvalidArgument(
        input.path + ": " + contents.what + ", expected " + expected +
        (contents.unpack.empty() ? ""
                                 : ": pipe it through " + contents.unpack));
  }
  require(!input.json_lines || options.field || has_json_name(input.path),
          input.path,
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
  require(std::ranges::count(options.paths, kStandardInput) <= 1,
          "-: given twice, expected standard input once");
  std::vector<TextInput> inputs;
  for (const std::string& path : options.paths) {
    TextInput input = {.path = name_of_stream(path)};
    if (is_stream(path)) input.kept = keep(path, options.keep_as);
    look_at(input, options);
    inputs.push_back(std::move(input));
  }
  return inputs;
}

}  // namespace timepipe
