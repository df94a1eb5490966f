#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "runtime/files.h"

namespace timepipe {

// What a file is: the one place where every command asks. Bytes that mark a
// format decide; a name that promises another one is a mistake, not a hint.

enum class FileKind {
  kText,           // any bytes without a mark of another kind and without a NUL
  kJsonLines,      // an object a line; some lines may be torn, with NULs
  kJson,           // one value over several lines
  kSafetensors,    // of tokens, weights or a hidden state
  kNpy,            // numpy.save
  kTokenBin,       // .bin: with llm.c's header, or raw tokens
  kSentencepiece,  // a tokenizer's model
  kBinary,         // with NULs, and no mark that is known
  kOther,          // a format that Timepipe doesn't read
};

// Bytes at the start of a file that decide what it is.
constexpr std::size_t kFileKindBytes = std::size_t{256} << 10;

struct FileContents {
  FileKind kind = FileKind::kText;
  std::string what = {};      // "a gzip file": of every kind
  std::string unpack = {};    // command that writes the contents: "gzip -dc"
  std::string advice = {};    // what else may help; both may be empty
  bool has_field = false;     // what `unpack` writes are JSON lines
  bool has_header = false;    // of .bin: llm.c's
  std::size_t bom_bytes = 0;  // of a text's byte order mark: 0 or 3
};

// name: the file's, with or without folders, in any case of letters. Of its
// bytes the first kFileKindBytes are read. A pure function of both.
//
// An object a line is JSON lines under any name; HTML is a text only where the
// name says so.
FileContents file_contents(const std::string& name, const FileBytes& bytes);

// Of a file. Throws IoError naming the path if it can't be read or is empty.
FileContents file_contents(const std::string& path);

// Whether the name ends as those of JSON lines do, in any case of letters.
bool has_json_name(std::string_view name);

// Whether it is read as tokens, not as a text.
bool is_token_file(FileKind kind);

// Throws InvalidArgument "PATH: a gzip file, expected EXPECTED: gzip -dc PATH
// > UNPACKED", or "... | timepipe data prepare - --out PATH.safetensors" where
// `is_data`.
[[noreturn]] void throw_other_kind(const std::string& path,
                                   const FileContents& contents,
                                   const std::string& expected, bool is_data);

// Bytes of UTF-8's byte order mark at the start of a text: 0 or 3.
std::size_t bom_bytes(std::string_view text);

// A file's bytes as a text, without its byte order mark. Throws IoError.
FileBytes text_of(const InputFile& file);

// Throws InvalidArgument if the file is no text: compressed, a pointer of Git
// LFS, an HTML page. JSON is one, and so is nothing.
void require_plain_text(const std::string& path, const FileBytes& bytes);

// The whole of such a file, without its byte order mark. Throws IoError too.
std::string read_plain_text(const std::string& path);

}  // namespace timepipe
