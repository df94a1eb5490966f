// Ids of bytes or of a sentencepiece model, for whole and for streamed texts.

#include "launcher/tokenizer/tokenizer.h"

#include <xxhash.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <utility>

#include "launcher/tokenizer/neutral_cuts.h"
#include "launcher/tokenizer/process.h"
#include "launcher/tokenizer/utf8.h"
#include "runtime/error.h"
#include "runtime/file_kind.h"
#include "runtime/files.h"

namespace timepipe {
namespace {

constexpr char kBytes[] = "bytes";
constexpr int64_t kPieceBytes = int64_t{64} << 10;
constexpr int64_t kMostModelBytes = int64_t{1} << 30;

void require_in_vocabulary(std::span<const int64_t> ids, int64_t vocab_size) {
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (0 <= ids[i] && ids[i] < vocab_size) continue;
    throw InvalidArgument("token " + std::to_string(i) + ": id " +
                          std::to_string(ids[i]) + ", expected one in [0, " +
                          std::to_string(vocab_size) + ")");
  }
}

std::string byte_of(const std::string& where, int64_t at) {
  return where + ": byte " + std::to_string(at);
}

class BytesTokenizer : public Tokenizer {
 public:
  std::string name() const override { return kBytes; }
  std::string fingerprint() const override { return kBytes; }
  int64_t vocab_size() const override { return 256; }
  std::optional<int64_t> bos_id() const override { return std::nullopt; }
  std::optional<int64_t> eos_id() const override { return std::nullopt; }
  bool is_byte_of_text(int64_t) const override { return true; }
  bool is_unknown(int64_t) const override { return false; }

  int64_t piece_end(const FileBytes& text, int64_t begin) const override {
    return std::min(text.size(), begin + kPieceBytes);
  }
  std::vector<int64_t> encode_piece(const TextPiece& piece,
                                    const std::string&) override {
    std::vector<int64_t> ids(piece.text().size());
    std::ranges::transform(piece.text(), ids.begin(), [](char c) {
      return int64_t{static_cast<unsigned char>(c)};
    });
    return ids;
  }
  std::string decode(std::span<const int64_t> ids) override {
    require_in_vocabulary(ids, vocab_size());
    return {ids.begin(), ids.end()};
  }
};

std::string read_model(const std::string& path) {
  try {
    const InputFile file(path);
    if (file.size_bytes() == 0) throw IoError(path + ": empty");
    const FileContents contents = file_contents(path, file);
    // The library says what is wrong with bytes that no other format has.
    if (contents.kind != FileKind::kSentencepiece &&
        contents.kind != FileKind::kBinary) {
      const bool json = contents.kind == FileKind::kJson ||
                        contents.kind == FileKind::kJsonLines;
      throw_other_kind(path, contents,
                       json ? "a sentencepiece model, not a JSON file such as "
                              "tokenizer.json"
                            : "a sentencepiece model",
                       false);
    }
    require(file.size_bytes() <= kMostModelBytes, path, ": ", file.size_bytes(),
            " bytes, expected a sentencepiece model, at most ",
            kMostModelBytes);
    return FileBytes(file).read_text(0, file.size_bytes());
  } catch (const IoError& error) {
    throw IoError(std::string(error.what()) +
                  ", expected the tokenizer bytes or the path of a "
                  "sentencepiece model");
  }
}

std::string fingerprint_of(std::string_view model) {
  char text[32];
  std::snprintf(text, sizeof(text), "xxh64:%016" PRIx64,
                XXH64(model.data(), model.size(), 0));
  return text;
}

class SentencepieceTokenizer : public Tokenizer {
 public:
  // model: the bytes of the file at `path`.
  SentencepieceTokenizer(const std::string& path, const std::string& model)
      : name_(std::filesystem::path(path).filename().string()),
        fingerprint_(fingerprint_of(model)),
        cuts_(model),
        process_(tokenizer_program()) {
    std::string answer;
    try {
      answer = process_.request(TokenizerMessage::kOpen, model);
    } catch (const InvalidArgument& error) {
      throw InvalidArgument(path + ": " + error.what());
    } catch (const IoError& error) {
      throw IoError(path + ": not read: " + error.what());
    }
    require(answer.size() >= sizeof(opened_), path, ": short answer");
    std::memcpy(&opened_, answer.data(), sizeof(opened_));
    kinds_ = answer.substr(sizeof(opened_));
  }

  std::string name() const override { return name_; }
  std::string fingerprint() const override { return fingerprint_; }
  int64_t vocab_size() const override { return opened_.vocab_size; }
  std::optional<int64_t> bos_id() const override {
    return if_any(opened_.bos_id);
  }
  std::optional<int64_t> eos_id() const override {
    return if_any(opened_.eos_id);
  }
  bool is_byte_of_text(int64_t id) const override {
    return is(TokenizerIdKind::kByte, id);
  }
  bool is_unknown(int64_t id) const override {
    return is(TokenizerIdKind::kUnknown, id);
  }

  int64_t piece_end(const FileBytes& text, int64_t begin) const override {
    return cuts_.piece_end(text, begin, kPieceBytes);
  }

  std::vector<int64_t> encode_piece(const TextPiece& piece,
                                    const std::string& where) override {
    const std::size_t valid = valid_utf8_bytes(piece.text());
    require(valid == piece.text().size(),
            byte_of(where, piece.begin + static_cast<int64_t>(valid)),
            ": not UTF-8, which ", name_, " reads");
    try {
      return widen(process_.request(TokenizerMessage::kEncode, piece.bytes,
                                    piece.context));
    } catch (const InvalidArgument& error) {
      throw InvalidArgument(byte_of(where, piece.begin) + ": " + name_ + ": " +
                            error.what());
    }
  }

  std::string decode(std::span<const int64_t> ids) override {
    require_in_vocabulary(ids, vocab_size());
    const std::vector<int32_t> narrow(ids.begin(), ids.end());
    return process_.request(TokenizerMessage::kDecode,
                            {reinterpret_cast<const char*>(narrow.data()),
                             narrow.size() * sizeof(int32_t)});
  }

 private:
  static std::vector<int64_t> widen(const std::string& answer) {
    std::vector<int64_t> ids(answer.size() / sizeof(int32_t));
    for (std::size_t i = 0; i < ids.size(); ++i) {
      int32_t id = 0;
      std::memcpy(&id, answer.data() + i * sizeof(id), sizeof(id));
      ids[i] = id;
    }
    return ids;
  }
  bool is(TokenizerIdKind kind, int64_t id) const {
    return 0 <= id && std::cmp_less(id, kinds_.size()) &&
           kinds_[static_cast<std::size_t>(id)] == static_cast<char>(kind);
  }
  static std::optional<int64_t> if_any(int32_t id) {
    return id < 0 ? std::nullopt : std::optional<int64_t>(id);
  }

  std::string name_, fingerprint_;
  NeutralCuts cuts_;
  TokenizerProcess process_;
  TokenizerOpened opened_ = {};
  std::string kinds_;  // TokenizerIdKind by id
};

}  // namespace

TextPiece Tokenizer::read_piece(const FileBytes& text, int64_t begin,
                                int64_t end, const std::string& where) const {
  require(std::cmp_less_equal(end - begin, kMostTextBytes),
          byte_of(where, begin), ": ", end - begin, " bytes that ", name(),
          " reads as a whole, expected at most ", kMostTextBytes,
          ": a cut might change ids; make it several documents");
  const int64_t before = std::min<int64_t>(begin, kMostCharacterBytes);
  TextPiece piece = {
      .begin = begin,
      .bytes = text.read_text(begin - before, end - begin + before)};
  const auto context = static_cast<std::size_t>(before);
  piece.context =
      last_character(std::string_view(piece.bytes).substr(0, context)).size();
  piece.bytes.erase(0, context - piece.context);
  return piece;
}

void Tokenizer::encode(
    const FileBytes& text, const std::string& where,
    const std::function<void(std::span<const int64_t>, int64_t)>& take) {
  for (int64_t begin = 0; begin < text.size();) {
    const int64_t end = piece_end(text, begin);
    take(encode_piece(read_piece(text, begin, end, where), where), end - begin);
    begin = end;
  }
}

std::vector<int64_t> Tokenizer::encode(std::string_view text,
                                       const std::string& where) {
  std::vector<int64_t> ids;
  encode(text, where, [&](std::span<const int64_t> more, int64_t) {
    ids.insert(ids.end(), more.begin(), more.end());
  });
  return ids;
}

std::unique_ptr<Tokenizer> make_tokenizer(const std::string& name) {
  if (name == kBytes) return std::make_unique<BytesTokenizer>();
  return std::make_unique<SentencepieceTokenizer>(name, read_model(name));
}

std::string tokenizer_fingerprint(const std::string& name) {
  if (name == kBytes) return kBytes;
  return fingerprint_of(read_model(name));
}

std::vector<int64_t> some_text(Tokenizer& tokenizer) {
  std::vector<int64_t> ids = tokenizer.encode("a", "");
  require(!tokenizer.decode(ids).empty(), "tokenizer ", tokenizer.name(),
          ": can't read the text \"a\"");
  return ids;
}

TextStream::TextStream(Tokenizer& tokenizer)
    : tokenizer_(tokenizer),
      anchor_(some_text(tokenizer)),
      anchor_text_(tokenizer.decode(anchor_)) {}

std::string TextStream::text_of_pending() {
  if (!began_) return tokenizer_.decode(pending_);
  std::vector<int64_t> ids = anchor_;
  ids.insert(ids.end(), pending_.begin(), pending_.end());
  return tokenizer_.decode(ids).substr(anchor_text_.size());
}

std::string TextStream::add(int64_t id) {
  constexpr char kReplacement[] = "\xef\xbf\xbd";  // for each unusable byte
  constexpr int kMostCharacterBytes = 4;
  pending_.push_back(id);
  std::string text = text_of_pending();
  const auto is_byte = [&](int64_t x) { return tokenizer_.is_byte_of_text(x); };
  const auto bytes = std::ranges::count_if(pending_, is_byte);
  std::string unusable;
  for (int64_t i = 0; i < bytes; ++i) unusable += kReplacement;
  if (!is_byte(id) || text != unusable) {
    // Before the first text a space may be dropped or not: these ids decide.
    if (text.empty() && !began_) return "";
    began_ = true;
    pending_.clear();
    return text;
  }
  // Fewer than four bytes may be the start of a character; of four, the first
  // one can't be.
  if (bytes < kMostCharacterBytes) return "";
  // Drops the first byte and the ids before it, which have no text.
  pending_.erase(pending_.begin(), std::ranges::find_if(pending_, is_byte) + 1);
  began_ = true;
  return kReplacement;
}

std::string TextStream::finish() {
  std::string text = text_of_pending();
  began_ = began_ || !text.empty();
  pending_.clear();
  return text;
}

}  // namespace timepipe
