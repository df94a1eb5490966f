#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "runtime/files.h"
#include "runtime/token_layout.h"

namespace timepipe {

// Reads the layout of a .bin that is all of `bytes`: with llm.c's header of 256
// int32 (magic 20240520, version 1: uint16; magic 20240801, version 7: uint32),
// else raw tokens of type `raw`, which mustn't look like another
// (runtime/raw_tokens.h). A pure function. Throws InvalidArgument ("WHERE:
// what") if it is malformed; every size is checked before it is used.
TokenLayout parse_bin(const FileBytes& bytes, const std::string& where,
                      StoredToken raw);

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
  // What data are known by, wherever they lie and however they are stored:
  // xxh64 of the number of tokens and the tokens as int64; of more than 2^23
  // not of all, but of 128 blocks of 2^13 spread evenly, the first and the last
  // among them, so that it costs 1 MiB or two of a file of any size. It finds
  // other data or another version of them, not each token changed in a large
  // file. Where documents begin doesn't count. Throws IoError.
  uint64_t hash() const;
  // The same of where the listed documents begin; 0 if none are listed.
  uint64_t hash_of_documents() const;
  // What checkpoints knew data by before hash(): xxh64 of the file's size, its
  // first and last MiB and 64 KiB at 256 places; of all bytes up to 18 MiB.
  uint64_t hash_of_bytes() const;
  // Copies tokens [first, first + ids.size()). Throws InvalidArgument naming
  // file and range if that goes beyond the end; file, position and id if an id
  // isn't in [0, vocab_size); IoError if the file can't be read or was cut
  // short since it was opened.
  void read(int64_t first, std::span<int64_t> ids, int64_t vocab_size) const;

 private:
  // Ids aren't checked.
  void copy(int64_t first, std::span<int64_t> ids) const;

  InputFile file_;
  TokenLayout layout_;
};

}  // namespace timepipe
