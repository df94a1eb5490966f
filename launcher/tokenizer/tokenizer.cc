#include "launcher/tokenizer/tokenizer.h"

#include <xxhash.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <utility>

#include "launcher/tokenizer/process.h"
#include "launcher/tokenizer/utf8.h"
#include "runtime/error.h"
#include "runtime/file_kind.h"
#include "runtime/files.h"

namespace timepipe {
namespace {

constexpr char kBytes[] = "bytes";
constexpr std::size_t kPieceBytes = std::size_t{64} << 10;

void require_in_vocabulary(std::span<const int64_t> ids, int64_t vocab_size) {
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (0 <= ids[i] && ids[i] < vocab_size) continue;
    throw InvalidArgument("token " + std::to_string(i) + ": id " +
                          std::to_string(ids[i]) + ", expected one in [0, " +
                          std::to_string(vocab_size) + ")");
  }
}

class BytesTokenizer : public Tokenizer {
 public:
  std::string name() const override { return kBytes; }
  std::string fingerprint() const override { return kBytes; }
  int64_t vocab_size() const override { return 256; }
  std::optional<int64_t> bos_id() const override { return std::nullopt; }
  std::optional<int64_t> eos_id() const override { return std::nullopt; }
  bool is_byte_of_text(int64_t) const override { return true; }

  TextPiece first_piece(std::string_view text) const override {
    const std::size_t size = std::min(text.size(), kPieceBytes);
    return {size, size};
  }
  std::vector<int64_t> encode_piece(std::string_view piece, const std::string&,
                                    int64_t) override {
    std::vector<int64_t> ids(piece.size());
    std::ranges::transform(piece, ids.begin(), [](char c) {
      return int64_t{static_cast<unsigned char>(c)};
    });
    return ids;
  }
  std::string decode(std::span<const int64_t> ids) override {
    require_in_vocabulary(ids, vocab_size());
    return {ids.begin(), ids.end()};
  }
};

MappedFile open_model(const std::string& path) {
  try {
    MappedFile file(path);
    if (file.bytes().empty()) throw IoError(path + ": empty");
    const FileContents contents = file_contents(path, file.bytes());
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
    return file;
  } catch (const IoError& error) {
    throw IoError(std::string(error.what()) +
                  ", expected the tokenizer bytes or the path of a "
                  "sentencepiece model");
  }
}

std::string fingerprint_of(ConstBytes model) {
  char text[32];
  std::snprintf(text, sizeof(text), "xxh64:%016" PRIx64,
                XXH64(model.data(), model.size(), 0));
  return text;
}

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

class SentencepieceTokenizer : public Tokenizer {
 public:
  explicit SentencepieceTokenizer(const MappedFile& model)
      : name_(std::filesystem::path(model.path()).filename().string()),
        fingerprint_(fingerprint_of(model.bytes())),
        process_(tokenizer_program()) {
    std::string answer;
    try {
      answer =
          process_.request(TokenizerMessage::kOpen,
                           {reinterpret_cast<const char*>(model.bytes().data()),
                            model.bytes().size()});
    } catch (const InvalidArgument& error) {
      throw InvalidArgument(model.path() + ": " + error.what());
    } catch (const IoError& error) {
      throw IoError(model.path() + ": not read: " + error.what());
    }
    require(answer.size() >= sizeof(opened_), model.path() + ": short answer");
    std::memcpy(&opened_, answer.data(), sizeof(opened_));
    is_byte_ = answer.substr(sizeof(opened_));
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
    return 0 <= id && std::cmp_less(id, is_byte_.size()) &&
           is_byte_[static_cast<std::size_t>(id)] == '\1';
  }

  // Pieces end at a single space, the last one in the second half of 64 KiB:
  // the ids are those of the whole text, as no token has a space inside. A text
  // without one is cut after a character.
  TextPiece first_piece(std::string_view text) const override {
    if (text.size() <= kPieceBytes) return {text.size(), text.size()};
    for (std::size_t i = kPieceBytes; i > kPieceBytes / 2; --i) {
      if (text[i] != ' ' || is_space(text[i - 1]) || i + 1 == text.size() ||
          is_space(text[i + 1])) {
        continue;
      }
      // The model puts this space before the next piece itself.
      return {i, opened_.adds_space == 1 ? i + 1 : i};
    }
    std::size_t size = kPieceBytes;
    while (size > kPieceBytes - 4 && (text[size] & 0xC0) == 0x80) --size;
    return {size, size};
  }

  std::vector<int64_t> encode_piece(std::string_view piece,
                                    const std::string& where,
                                    int64_t first_byte) override {
    const std::size_t valid = valid_utf8_bytes(piece);
    require(valid == piece.size(),
            where + ": byte " +
                std::to_string(first_byte + static_cast<int64_t>(valid)) +
                ": not UTF-8, which " + name_ + " reads");
    const std::string answer =
        process_.request(TokenizerMessage::kEncode, piece);
    std::vector<int32_t> ids(answer.size() / sizeof(int32_t));
    if (!ids.empty()) {
      std::memcpy(ids.data(), answer.data(), ids.size() * sizeof(int32_t));
    }
    return {ids.begin(), ids.end()};
  }

  std::string decode(std::span<const int64_t> ids) override {
    require_in_vocabulary(ids, vocab_size());
    const std::vector<int32_t> narrow(ids.begin(), ids.end());
    return process_.request(TokenizerMessage::kDecode,
                            {reinterpret_cast<const char*>(narrow.data()),
                             narrow.size() * sizeof(int32_t)});
  }

 private:
  static std::optional<int64_t> if_any(int32_t id) {
    return id < 0 ? std::nullopt : std::optional<int64_t>(id);
  }

  std::string name_, fingerprint_;
  TokenizerProcess process_;
  TokenizerOpened opened_ = {};
  std::string is_byte_;  // by id
};

}  // namespace

std::vector<int64_t> Tokenizer::encode(std::string_view text,
                                       const std::string& where) {
  std::vector<int64_t> ids;
  for (std::size_t at = 0; at < text.size();) {
    const TextPiece piece = first_piece(text.substr(at));
    const std::vector<int64_t> more = encode_piece(
        text.substr(at, piece.size), where, static_cast<int64_t>(at));
    ids.insert(ids.end(), more.begin(), more.end());
    at += piece.next;
  }
  return ids;
}

std::unique_ptr<Tokenizer> make_tokenizer(const std::string& name) {
  if (name == kBytes) return std::make_unique<BytesTokenizer>();
  return std::make_unique<SentencepieceTokenizer>(open_model(name));
}

std::string tokenizer_fingerprint(const std::string& name) {
  if (name == kBytes) return kBytes;
  return fingerprint_of(open_model(name).bytes());
}

TextStream::TextStream(Tokenizer& tokenizer)
    : tokenizer_(tokenizer),
      anchor_(tokenizer.encode("a", "")),
      anchor_text_(tokenizer.decode(anchor_)) {
  require(!anchor_text_.empty(),
          "tokenizer " + tokenizer.name() + ": can't read the text \"a\"");
}

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
  // The start of a character, perhaps; the first of four bytes isn't.
  if (bytes < kMostCharacterBytes) return "";
  // What is before it has no text.
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
