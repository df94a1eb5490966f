// Tells what a file is from its first bytes and its name.

#include "runtime/file_kind.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

#include "runtime/error.h"
#include "runtime/file_marks.h"
#include "runtime/files.h"
#include "runtime/shell_word.h"
#include "runtime/text_kind.h"

namespace timepipe {
namespace {

using Text = std::string_view;

template <typename T>
T load(Text bytes, std::size_t at) {
  T value = 0;
  if (at + sizeof(T) <= bytes.size()) {
    std::memcpy(&value, bytes.data() + at, sizeof(T));
  }
  return value;
}

bool is_printable(Text text) {
  return std::ranges::all_of(text, [](char c) { return ' ' <= c && c <= '~'; });
}

// Begins with the length of a header, 8 bytes, then the header in JSON.
bool is_safetensors(Text bytes) {
  constexpr uint64_t kMostHeaderBytes = uint64_t{1} << 40;
  const auto length = load<uint64_t>(bytes, 0);
  return bytes.size() >= 10 && 2 <= length && length <= kMostHeaderBytes &&
         bytes[8] == '{' && Text("\"} \n\r\t").find(bytes[9]) != Text::npos;
}

// Begins with 4 bytes of all bits set, then the length of a message.
bool is_arrow_stream(Text bytes) {
  return bytes.starts_with("\xff\xff\xff\xff") && bytes.size() > 8 &&
         bytes[6] == '\0' && bytes[7] == '\0';
}

bool is_gzip(Text bytes) {
  constexpr int kReservedFlags = 0xe0;
  return bytes.starts_with("\x1f\x8b\x08") && bytes.size() > 3 &&
         (bytes[3] & kReservedFlags) == 0;
}

// Of protocols 2 to 5. Tokens of a .bin may begin with its first two bytes.
bool is_pickle(Text bytes, bool is_bin) {
  const Text rest = bytes.substr(std::min<std::size_t>(bytes.size(), 2));
  if (bytes.starts_with("\x80\x04") || bytes.starts_with("\x80\x05")) {
    // A frame, whose length follows.
    return rest.starts_with("\x95") && load<uint64_t>(rest, 1) >> 40 == 0;
  }
  if (!bytes.starts_with("\x80\x02") && !bytes.starts_with("\x80\x03")) {
    return false;
  }
  constexpr Text kOperations = "}])(cKMJXUGN\x8a\x8b\x88\x89";
  if (!is_bin) return !rest.empty() && kOperations.find(rest[0]) != Text::npos;
  constexpr Text kTorchMagic = "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20";
  for (const Text begin : {kTorchMagic, Text("ctorch"), Text("cnumpy"),
                           Text("ccollections"), Text("}q\0X", 4)}) {
    if (rest.starts_with(begin)) return true;
  }
  return false;
}

FileContents zip_contents(Text bytes) {
  constexpr std::size_t kNameLength = 26, kName = 30;
  const Text first =
      bytes.size() < kName
          ? Text()
          : bytes.substr(kName, load<uint16_t>(bytes, kNameLength));
  if (first.ends_with(".npy")) {
    return other_kind(
        "an .npz archive of numpy", "",
        "python3 -c \"import numpy, sys; z = numpy.load(sys.argv[1]); "
        "numpy.save(sys.argv[1] + '.npy', z[z.files[0]])\" FILE writes its "
        "first array");
  }
  for (const Text end : {"/data.pkl", "/.format_version", "/constants.pkl",
                         "/serialization_id", "/byteorder", "/version"}) {
    if (first.ends_with(end)) {
      return other_kind("a file of torch.save (a zip with a pickle)", "",
                        kTorch);
    }
  }
  if (first == "mimetype" || first == "[Content_Types].xml" ||
      first.starts_with("word/")) {
    return other_kind("an Office document or an EPUB book (a zip)", "",
                      kTakeText);
  }
  FileContents zip = other_kind("a zip archive", "unzip -p");
  zip.has_field = has_json_name(first);
  return zip;
}

// Marks that say little don't count where other bytes may begin so.
bool counts(const FileMark& mark, bool is_bin, bool may_be_text) {
  const Text bytes = mark.bytes;
  if (is_bin && bytes.size() < 4) return false;
  return !may_be_text || bytes.size() > 5 || !is_printable(bytes) ||
         bytes == "%PDF-" || bytes == "{\\rtf";
}

std::optional<FileContents> marked(Text bytes, bool is_bin) {
  const bool may_be_text = !has_control(bytes);
  for (const FileMark& mark : kFileMarks) {
    if (mark.at <= bytes.size() &&
        bytes.substr(mark.at).starts_with(mark.bytes) &&
        counts(mark, is_bin, may_be_text)) {
      return other_kind(mark.what, mark.unpack, mark.advice);
    }
  }
  if (!is_bin && is_arrow_stream(bytes)) {
    return other_kind("an arrow stream", "", kArrow);
  }
  if (is_gzip(bytes)) return other_kind("a gzip file", "gzip -dc");
  if (bytes.starts_with("PK\x03\x04") || bytes.starts_with("PK\x05\x06")) {
    return zip_contents(bytes);
  }
  if (is_pickle(bytes, is_bin)) {
    return other_kind("a pickle (as of an older torch.save)", "", kTorch);
  }
  return std::nullopt;
}

std::optional<FileContents> llmc(Text bytes) {
  if (bytes.size() < sizeof(int32_t)) return std::nullopt;
  const auto magic = load<int32_t>(bytes, 0);
  for (const LlmcMagic& known : kLlmcMagics) {
    if (magic != known.magic) continue;
    if (known.what != nullptr) return other_kind(known.what);
    return FileContents{.kind = FileKind::kTokenBin,
                        .what = "tokens of llm.c",
                        .has_header = true};
  }
  // llm.c's other magic numbers are dates too, in headers that are mostly
  // zeros.
  constexpr int32_t kFirst = 20240101, kLast = 20391231;
  constexpr std::size_t kHeaderBytes = 1024, kMostUsed = 256;
  const bool is_date = kFirst <= magic && magic <= kLast;
  if (!is_date || bytes.size() < kHeaderBytes) return std::nullopt;
  const Text rest = bytes.substr(kMostUsed, kHeaderBytes - kMostUsed);
  if (rest.find_first_not_of('\0') != Text::npos) return std::nullopt;
  return other_kind("a file of llm.c without tokens (its header begins with " +
                    std::to_string(magic) + ")");
}

bool is_sentencepiece(Text bytes) {
  constexpr char kPieces = 0x0a, kPiece = 0x0a, kScore = 0x15;  // protobuf tags
  if (bytes.size() < 8 || bytes[0] != kPieces || bytes[2] != kPiece) {
    return false;
  }
  const auto piece = static_cast<std::size_t>(bytes[3]);
  return piece < 64 && 4 + piece < bytes.size() && bytes[4 + piece] == kScore;
}

// Of a name without its folders, lower case.
FileContents contents_of(Text name, Text bytes) {
  const bool whole = bytes.size() < kFileKindBytes;
  const bool is_bin = name.ends_with(".bin");
  if (is_safetensors(bytes)) {
    return {.kind = FileKind::kSafetensors, .what = "a safetensors file"};
  }
  if (bytes.starts_with("\x93NUMPY")) {
    return {.kind = FileKind::kNpy, .what = "an .npy file"};
  }
  if (auto found = llmc(bytes)) return *found;
  if (auto found = marked(bytes, is_bin)) return *found;
  if (auto found = is_bin ? std::nullopt : wide_text(bytes)) return *found;
  const Text text = bytes.substr(bom_bytes(bytes));
  const bool has_nul = text.find('\0') != Text::npos;
  if (auto found = has_nul ? std::nullopt : error_page(text, name, whole)) {
    return *found;
  }
  if (is_bin) {
    constexpr std::size_t kLeast = 64;
    if (bytes.size() >= kLeast && !has_control(text)) {
      return other_kind("a text (" + beginning(text) + ")", "",
                        "as a text it is read under another name than .bin");
    }
    return {.kind = FileKind::kTokenBin, .what = "a .bin of tokens"};
  }
  if (name.ends_with(".safetensors")) {
    if (!has_control(text)) {
      return other_kind("no safetensors file (" + beginning(text) + ")");
    }
    return {.kind = FileKind::kSafetensors, .what = "a safetensors file"};
  }
  if (name.ends_with(".npy")) {
    return other_kind("not written by numpy.save (" + beginning(text) + ")", "",
                      "tokens without a header, as of OLMo, are read as .bin");
  }
  if (is_sentencepiece(bytes)) {
    return {.kind = FileKind::kSentencepiece, .what = "a sentencepiece model"};
  }
  for (const NameMark& mark : kNameMarks) {
    if (!name.ends_with(mark.end)) continue;
    const std::string but = has_nul ? "" : ", but it " + beginning(text);
    return other_kind("by its name " + std::string(mark.what) + but, "",
                      mark.advice);
  }
  FileContents contents = text_contents(text, name, whole);
  contents.bom_bytes = bytes.size() - text.size();
  return contents;
}

// With the path in the place of FILE, a word of a command.
std::string with_path(std::string text, const std::string& file) {
  constexpr Text kFile = "FILE";
  const std::string path = shell_word(file);
  for (std::size_t at = 0; (at = text.find(kFile, at)) != std::string::npos;) {
    text.replace(at, kFile.size(), path);
    at += path.size();
  }
  return text;
}

}  // namespace

std::size_t bom_bytes(Text text) {
  return text.starts_with("\xef\xbb\xbf") ? 3 : 0;
}

FileContents file_contents(const std::string& name, const FileBytes& bytes) {
  constexpr auto kMostBytes = static_cast<int64_t>(kFileKindBytes);
  const std::string first =
      bytes.read_text(0, std::min(bytes.size(), kMostBytes));
  const std::string base = lower_case(Text(name).substr(name.rfind('/') + 1));
  FileContents contents = contents_of(base, first);
  if (contents.unpack.empty()) return contents;
  const Text inner = Text(base).substr(0, base.rfind('.'));
  if (inner.ends_with(".tar") || base.ends_with(".tgz")) {
    return other_kind("a compressed tar archive", "", kUntar);
  }
  contents.has_field |= has_json_name(inner);  // "a.jsonl.gz"
  return contents;
}

FileContents file_contents(const std::string& path) {
  const InputFile file(path);
  if (file.size_bytes() == 0) throw IoError(path + ": empty");
  return file_contents(path, file);
}

bool is_token_file(FileKind kind) {
  return kind == FileKind::kSafetensors || kind == FileKind::kNpy ||
         kind == FileKind::kTokenBin;
}

void throw_other_kind(const std::string& path, const FileContents& contents,
                      const std::string& expected, bool is_data) {
  std::string text = path + ": " + contents.what + ", expected " + expected;
  const bool json =
      contents.kind == FileKind::kJson || contents.kind == FileKind::kJsonLines;
  if (json && !is_data) throw InvalidArgument(text);
  if (!contents.unpack.empty()) {
    text += ": " + contents.unpack + " " + shell_word(path);
    text += is_data ? std::string(" | timepipe data prepare -") +
                          (contents.has_field ? " --field text" : "") +
                          " --out " + shell_word(path + ".safetensors")
                    : " > UNPACKED";
  } else if (!contents.advice.empty()) {
    text += ": " + with_path(contents.advice, path);
  }
  throw InvalidArgument(text);
}

FileBytes text_of(const InputFile& file) {
  constexpr int64_t kMarkBytes = 3;
  const std::string first =
      FileBytes(file).read_text(0, std::min(file.size_bytes(), kMarkBytes));
  return {file, static_cast<int64_t>(bom_bytes(first))};
}

void require_plain_text(const std::string& path, const FileBytes& bytes) {
  if (bytes.size() == 0) return;
  // Not by its name: JSON and a configuration are texts under any.
  const FileContents contents = file_contents("", bytes);
  if (contents.kind != FileKind::kText && contents.kind != FileKind::kJson &&
      contents.kind != FileKind::kJsonLines) {
    throw_other_kind(path, contents, "a text", false);
  }
}

std::string read_plain_text(const std::string& path) {
  std::string text = read_text(path);
  require_plain_text(path, std::as_bytes(std::span(text)));
  return text.substr(bom_bytes(text));
}

}  // namespace timepipe
