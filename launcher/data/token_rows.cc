#include "launcher/data/token_rows.h"

#include "runtime/error.h"
#include "runtime/token_npy.h"
#include "runtime/token_safetensors.h"

namespace timepipe {
namespace {

TokenRows from_array(const InputFile& file, const TokenArray& array) {
  const TokenLayout& layout = array.layout;
  TokenRows rows{array.shape, {}};
  rows.ids.resize(static_cast<std::size_t>(layout.count));
  copy_tokens(
      FileBytes(file).read(layout.begin, layout.count * bytes_of(layout.type)),
      layout.type, rows.ids);
  return rows;
}

TokenRows from_tokens(const std::string& path, StoredToken raw) {
  const TokenFile file(path, raw);
  TokenRows rows{{file.num_tokens()}, {}};
  rows.ids.resize(static_cast<std::size_t>(file.num_tokens()));
  file.read(0, rows.ids, int64_t{1} << 62);
  return rows;
}

}  // namespace

TokenRows read_token_rows(const std::string& path, const std::string& tensor,
                          int64_t vocab_size, StoredToken raw) {
  const FileKind kind = file_contents(path).kind;
  TokenRows rows;
  if (kind == FileKind::kNpy) {
    const InputFile file(path);
    rows = from_array(file, parse_npy_array(file, path));
  } else if (kind == FileKind::kSafetensors) {
    const InputFile file(path);
    rows = from_array(file, parse_token_tensor(file, path, tensor));
  } else {
    rows = from_tokens(path, raw);
  }
  require(!rows.ids.empty(), path, ": no tokens, expected one at least");
  for (std::size_t i = 0; i < rows.ids.size(); ++i) {
    if (0 <= rows.ids[i] && rows.ids[i] < vocab_size) continue;
    const auto place = static_cast<int64_t>(i);
    throw InvalidArgument(
        path + ": token " + std::to_string(place % rows.tokens()) +
        (rows.rows() == 1
             ? ""
             : " of row " + std::to_string(place / rows.tokens())) +
        ": id " + std::to_string(rows.ids[i]) + ", expected one in [0, " +
        std::to_string(vocab_size) + ")");
  }
  return rows;
}

}  // namespace timepipe
