#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/files.h"

namespace timepipe {

// A part of a text that is made into tokens by itself, in memory.
struct TextPiece {
  int64_t begin = 0;        // byte of the text
  std::size_t context = 0;  // bytes before it that are here too: a character's
  std::string bytes;        // those and its own

  std::string_view text() const {
    return std::string_view(bytes).substr(context);
  }
};

// Turns text into ids and back. For one thread at a time.
//
// Long texts are read in pieces (64 KiB), so that memory doesn't grow with them
// and threads can share them. They are cut only where that changes no id, which
// depends on model and text alone; a text without such places is one piece.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  virtual std::string name() const = 0;  // "bytes", or the model file's name
  // The same for tokenizers that make the same ids of every text.
  virtual std::string fingerprint() const = 0;
  virtual int64_t vocab_size() const = 0;
  // Ids around a document, which encode() doesn't add; none if there are none.
  virtual std::optional<int64_t> bos_id() const = 0;
  virtual std::optional<int64_t> eos_id() const = 0;
  // Whether the id is a byte, perhaps a part of a character only.
  virtual bool is_byte_of_text(int64_t id) const = 0;
  // Whether the id stands for whatever text the vocabulary has nothing for.
  virtual bool is_unknown(int64_t id) const = 0;

  // Where the piece that begins at byte `begin`, one of the text, ends. Throws
  // IoError.
  virtual int64_t piece_end(const FileBytes& text, int64_t begin) const = 0;
  // Ids of such a piece. Throws InvalidArgument ("WHERE: byte N: what") if it
  // isn't what the tokenizer reads.
  virtual std::vector<int64_t> encode_piece(const TextPiece& piece,
                                            const std::string& where) = 0;
  // Throws InvalidArgument naming the first id that isn't in the vocabulary.
  virtual std::string decode(std::span<const int64_t> ids) = 0;

  // Bytes [begin, end) of the text, a piece. Throws InvalidArgument if it is
  // more than may be read at once, IoError.
  TextPiece read_piece(const FileBytes& text, int64_t begin, int64_t end,
                       const std::string& where) const;
  // Ids of a whole text; `where` names it in errors.
  std::vector<int64_t> encode(std::string_view text, const std::string& where);
  // The same, each piece as it comes; take(ids, bytes of the text).
  void encode(
      const FileBytes& text, const std::string& where,
      const std::function<void(std::span<const int64_t>, int64_t)>& take);
};

// name: "bytes", or the path of a sentencepiece model, which is run by the
// program timepipe-tokenizer beside this one. Throws IoError naming the path
// that can't be read or started, InvalidArgument if the file is no model.
std::unique_ptr<Tokenizer> make_tokenizer(const std::string& name);

// The path of such a model's file; "" of "bytes".
inline std::string tokenizer_path(const std::string& name) {
  return name == "bytes" ? "" : name;
}

// The fingerprint of make_tokenizer(name). Reads the model's file and starts
// nothing.
std::string tokenizer_fingerprint(const std::string& name);

// Ids of some text, which one doesn't matter: what is decoded behind them is
// decoded as inside a text. Throws InvalidArgument if the tokenizer makes
// nothing of a letter.
std::vector<int64_t> some_text(Tokenizer& tokenizer);

// The text of ids that come one by one, each part as soon as it is certain.
// What add() and finish() give, joined, is decode() of all ids; memory and time
// for an id don't grow with the text.
class TextStream {
 public:
  explicit TextStream(Tokenizer& tokenizer);  // which must outlive this

  std::string add(int64_t id);
  // What was kept back: bytes that make no character.
  std::string finish();

 private:
  std::string text_of_pending();

  Tokenizer& tokenizer_;
  // Ids and their text that stand for all that was given out: after some text,
  // which one doesn't matter.
  std::vector<int64_t> anchor_;
  std::string anchor_text_;
  bool began_ = false;            // some text was given out
  std::vector<int64_t> pending_;  // ids whose text wasn't
};

}  // namespace timepipe
