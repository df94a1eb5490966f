#include "launcher/data/token_rows.h"

#include <array>
#include <utility>

#include "runtime/safetensors.h"
#include "runtime/token_file.h"

namespace timepipe {
namespace {

TokenRows copy_of(ConstBytes bytes, StoredToken type, Shape shape) {
  TokenRows rows{std::move(shape), {}};
  rows.ids.resize(bytes.size() / static_cast<std::size_t>(bytes_of(type)));
  copy_tokens(bytes, type, rows.ids);
  return rows;
}

TokenRows from_npy(const std::string& path) {
  const InputFile file(path);
  const auto& [layout, shape] = parse_npy_array(file, path);
  return copy_of(
      FileBytes(file).read(layout.begin, file.size_bytes() - layout.begin),
      layout.type, shape);
}

TokenRows from_safetensors(const std::string& path, const std::string& asked) {
  static constexpr std::array<std::pair<const char*, StoredToken>, 5> kTypes = {
      {{"U8", StoredToken::kU8},
       {"U16", StoredToken::kU16},
       {"U32", StoredToken::kU32},
       {"I32", StoredToken::kI32},
       {"I64", StoredToken::kI64}}};
  const SafetensorsFile file = SafetensorsFile::read(path);
  const std::string tensor = !asked.empty()               ? asked
                             : file.contains("input_ids") ? "input_ids"
                                                          : "tokens";
  const SafetensorsEntry& entry = file.entry(tensor);
  for (const auto& [name, type] : kTypes) {
    if (entry.dtype != name) continue;
    require(entry.shape.size() == 1 || entry.shape.size() == 2,
            path + ": tensor " + tensor + ": shape " + to_string(entry.shape) +
                ", expected [T] or [B,T]");
    return copy_of(file.bytes(tensor), type, entry.shape);
  }
  throw InvalidArgument(path + ": tensor " + tensor + ": dtype " + entry.dtype +
                        ", expected U8, U16, U32, I32 or I64");
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
  TokenRows rows = kind == FileKind::kNpy ? from_npy(path)
                   : kind == FileKind::kSafetensors
                       ? from_safetensors(path, tensor)
                       : from_tokens(path, raw);
  require(!rows.ids.empty(), path + ": no tokens, expected one at least");
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
