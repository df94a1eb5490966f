#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "runtime/file_kind.h"
#include "runtime/files.h"

namespace timepipe {

enum class StoredToken { kU8, kU16, kU32, kI32, kI64 };  // little-endian

int64_t bytes_of(StoredToken type);

// Where the tokens of a file are in its bytes.
struct TokenLayout {
  FileKind kind = FileKind::kText;  // kText: its bytes are the tokens
  StoredToken type = StoredToken::kU8;
  int64_t begin = 0;  // byte of the first token
  int64_t count = 0;  // tokens
  // First token of each document, ascending, the first is 0. Empty if the file
  // doesn't list its documents.
  std::vector<int64_t> documents;
  std::map<std::string, std::string> metadata;  // of .safetensors
};

// Each reads the layout of a file that is all of `bytes`; pure functions. They
// throw InvalidArgument ("WHERE: what") if it is malformed; every size is
// checked before it is used.

// With llm.c's header of 256 int32 (magic 20240520, version 1: uint16; magic
// 20240801, version 7: uint32), else raw tokens of type `raw`, which mustn't
// look like another (runtime/raw_tokens.h).
TokenLayout parse_bin(const FileBytes& bytes, const std::string& where,
                      StoredToken raw);
// One dimension of <u1, <u2, <u4, <i4 or <i8; versions 1 to 3 of the format.
TokenLayout parse_npy(const FileBytes& bytes, const std::string& where);
// The same of one or two dimensions, in C's order.
struct NpyTokens {
  TokenLayout layout;
  Shape shape;
};
NpyTokens parse_npy_array(const FileBytes& bytes, const std::string& where);
// Copies the ids.size() tokens of this type that `bytes` are. Ids aren't
// checked.
void copy_tokens(ConstBytes bytes, StoredToken type, std::span<int64_t> ids);
// Tensor `tokens` (U8, U16, U32), tensor `documents` (I64) if there is one.
TokenLayout parse_token_safetensors(const FileBytes& bytes,
                                    const std::string& where);

// How many of the tokens, at their end, a share of them keeps from training.
int64_t held_out_tokens(int64_t tokens, double share);

// A file of tokens: .bin, .npy, .safetensors, or a text whose
// bytes are the tokens, but for its byte order mark (runtime/file_kind.h).
class TokenFile {
 public:
  // raw: type of the tokens of a .bin without a header. Throws IoError naming
  // the path if it can't be read or is empty, InvalidArgument if malformed or
  // of another kind.
  explicit TokenFile(const std::string& path,
                     StoredToken raw = StoredToken::kU16);

  const std::string& path() const { return file_.path(); }
  const TokenLayout& layout() const { return layout_; }
  int64_t num_tokens() const { return layout_.count; }
  const InputFile::Stamp& stamp() const { return file_.stamp(); }
  // The tokens as they are stored. Throws IoError.
  std::vector<std::byte> stored() const;
  // For ranks to compare: xxh64 of the file's size, its first and last MiB and
  // 64 KiB at 256 places spread evenly; of all bytes up to 18 MiB. Finds
  // another file or another version of it, not each byte changed in a large
  // one. Throws IoError.
  uint64_t hash() const;
  // Copies tokens [first, first + ids.size()). Throws InvalidArgument naming
  // file and range if that goes beyond the end; file, position and id if an id
  // isn't in [0, vocab_size); IoError if the file can't be read or was cut
  // short since it was opened.
  void read(int64_t first, std::span<int64_t> ids, int64_t vocab_size) const;

 private:
  InputFile file_;
  TokenLayout layout_;
};

}  // namespace timepipe
