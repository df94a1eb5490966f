#include "runtime/file_kind.h"

#include <algorithm>

#include "tests/fuzz/fuzz.h"

// The first line is the file's name, the rest its bytes. Whatever they are, the
// answer has a name, and a text that is read has no NUL.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  using namespace timepipe;
  const uint8_t* end = std::find(data, data + size, '\n');
  const std::string name(data, end);
  const uint8_t* begin = std::min(end + 1, data + size);
  const auto count = static_cast<std::size_t>(data + size - begin);
  const FileContents contents =
      file_contents(name, fuzz::as_bytes(begin, count));
  fuzz::must(!contents.what.empty(), "every kind has a name");
  fuzz::must(contents.unpack.empty() || contents.kind == FileKind::kOther ||
                 contents.kind == FileKind::kJson,
             "what is read needs no unpacking");
  fuzz::must(contents.bom_bytes <= count, "a mark lies in the bytes");
  if (contents.kind == FileKind::kText) {
    fuzz::must(std::find(begin, data + size, '\0') == data + size ||
                   count > kFileKindBytes,
               "a text has no NUL");
  }
  return 0;
}
