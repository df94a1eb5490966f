#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/file_kind.h"
#include "runtime/files.h"

namespace timepipe {

// Integers, little-endian, by rising width.
enum class StoredToken { kU8, kI8, kU16, kI16, kU32, kI32, kU64, kI64 };

// What a type of tokens is called.
struct StoredTokenName {
  StoredToken type;
  int64_t bytes;  // of a token
  const char* name;
  std::string_view safetensors, npy;  // in files
};

const StoredTokenName& name_of(StoredToken type);
int64_t bytes_of(StoredToken type);

// Of a name in a file's header. Throws InvalidArgument ("WHERE NAME, expected
// U8, ...") if it is none of these integers.
StoredToken token_type_of_safetensors(std::string_view name,
                                      const std::string& where);
StoredToken token_type_of_npy(std::string_view name, const std::string& where);

// Where the tokens of a file are in its bytes.
struct TokenLayout {
  FileKind kind = FileKind::kText;  // kText: its bytes are the tokens
  StoredToken type = StoredToken::kU8;
  int64_t begin = 0;  // byte of the first token
  int64_t count = 0;  // tokens
  // First token of each document, ascending, the first is 0. Empty if the file
  // doesn't list its documents.
  std::vector<int64_t> documents = {};
  std::map<std::string, std::string> metadata = {};  // of .safetensors
};

// Tokens that have a shape.
struct TokenArray {
  TokenLayout layout;
  Shape shape;  // one or two dimensions, in C's order
};

// All bytes from `begin` on are tokens. Throws InvalidArgument ("WHERE: what")
// unless they are a whole number of them.
TokenLayout tokens_from(int64_t begin, FileKind kind, StoredToken type,
                        const FileBytes& bytes, const std::string& where);
// Throws InvalidArgument unless the layout has as many as the header lists.
void require_count(const TokenLayout& layout, int64_t listed,
                   const std::string& where);
// Throws InvalidArgument unless the array is one text: [T] or [1,T].
void require_one_row(const TokenArray& array, const std::string& where);

// Copies the ids.size() tokens of this type that `bytes` are. Ids aren't
// checked; those beyond int64 become its largest number, which no vocabulary
// has.
void copy_tokens(ConstBytes bytes, StoredToken type, std::span<int64_t> ids);

}  // namespace timepipe
