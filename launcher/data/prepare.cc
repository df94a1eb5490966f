// Tokenizes texts and JSON lines into a token file.

#include "launcher/data/prepare.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string_view>
#include <utility>

#include "launcher/data/jsonl.h"
#include "launcher/data/ordered_work.h"
#include "launcher/data/text_input.h"
#include "launcher/process/rank_log.h"
#include "launcher/process/result_file.h"
#include "launcher/tokenizer/protocol.h"
#include "launcher/tokenizer/tokenizer.h"
#include "runtime/error.h"
#include "runtime/file_kind.h"
#include "runtime/files.h"
#include "runtime/safetensors.h"

namespace timepipe {
namespace {

using Ids = std::span<const int64_t>;

constexpr int64_t kPartBytes = int64_t{64} << 10;  // of lines, at least
// Texts from here on are tokenized one at a time: sentencepiece needs a hundred
// times their size.
constexpr int64_t kLargeBytes = int64_t{8} << 20;

// What one thread reads at a time: a piece of a text, or lines of a .jsonl.
struct Part {
  InputFile file;
  int64_t begin, end;               // bytes of its text
  bool starts = true, ends = true;  // the document
  int64_t first_line = 0;           // of a .jsonl; 0: a text

  int64_t size() const { return end - begin; }
};

// Tokens of a part as they are stored.
struct Encoded {
  std::string bytes;
  int64_t tokens = 0;
  std::vector<int64_t> starts;  // of documents, tokens of this part
  int64_t left_out = 0;
  std::vector<std::string> bad_lines;
  int64_t source_bytes = 0;
};

// Gives the parts of all inputs, in order. Borders depend on the bytes alone.
class Cutter {
 public:
  Cutter(const std::vector<TextInput>& inputs, const Tokenizer& tokenizer)
      : inputs_(inputs), tokenizer_(tokenizer) {}

  std::optional<Part> next() {
    if (!file_.has_value()) {
      if (input_ == inputs_.size()) return std::nullopt;
      file_.emplace(inputs_[input_++].open());
      begin_ = 0;
      line_ = 1;
    }
    const FileBytes text = text_of(*file_);
    Part part = inputs_[input_ - 1].json_lines ? lines(text) : piece(text);
    begin_ = part.end;
    if (begin_ == text.size()) file_.reset();
    return part;
  }

 private:
  Part piece(const FileBytes& text) const {
    const int64_t end = tokenizer_.piece_end(text, begin_);
    return {*file_, begin_, end, begin_ == 0, end == text.size()};
  }

  Part lines(const FileBytes& text) {
    const LinesEnd block = find_lines_end(text, begin_, kPartBytes);
    Part part = {*file_, begin_, block.end, true, true, line_};
    line_ += block.line_feeds;
    return part;
  }

  const std::vector<TextInput>& inputs_;
  const Tokenizer& tokenizer_;
  std::size_t input_ = 0;
  std::optional<InputFile> file_;  // inputs_[input_ - 1], until it is read
  int64_t begin_ = 0;
  int64_t line_ = 1;
};

// What stands around documents and how tokens are stored.
struct Form {
  StoredToken type;
  std::vector<int64_t> before, after;  // ids
  std::string field;
  bool any_bytes, skip_bad_lines;
};

StoredToken narrowest(int64_t vocab_size) {
  return vocab_size <= 1 << 8    ? StoredToken::kU8
         : vocab_size <= 1 << 16 ? StoredToken::kU16
                                 : StoredToken::kU32;
}

std::vector<int64_t> mark(const char* option, std::optional<bool> wanted,
                          std::optional<int64_t> id,
                          const Tokenizer& tokenizer) {
  if (!wanted.value_or(false)) return {};
  require(id.has_value(), option, ": tokenizer ", tokenizer.name(),
          " has no such id");
  return {*id};
}

Form form_of(const PrepareOptions& options, const Tokenizer& tokenizer) {
  const bool has_eos = tokenizer.eos_id().has_value();
  return {narrowest(tokenizer.vocab_size()),
          mark("--bos", options.bos, tokenizer.bos_id(), tokenizer),
          mark("--eos", options.eos.value_or(has_eos), tokenizer.eos_id(),
               tokenizer),
          options.field.value_or("text"),
          options.any_bytes,
          options.skip_bad_lines};
}

// Makes tokens of parts, for one thread.
class Encoder {
 public:
  Encoder(Tokenizer& tokenizer, const Form& form)
      : tokenizer_(tokenizer), form_(form) {}

  Encoded encode(const Part& part) {
    Encoded out;
    out.source_bytes = part.size();
    const FileBytes text = text_of(part.file);
    const std::string& where = part.file.path();
    if (part.first_line == 0) {
      const TextPiece piece =
          tokenizer_.read_piece(text, part.begin, part.end, where);
      require_no_nul(piece, where);
      add_text(tokenizer_.encode_piece(piece, where), part, out);
      return out;
    }
    parse_jsonl(
        read_lines(text, part.begin, part.end, kPartBytes), where, form_.field,
        [&](std::string_view document) { add_document(document, part, out); },
        part.first_line,
        [&](const std::string& mistake) {
          require(form_.skip_bad_lines, mistake);
          out.bad_lines.push_back(mistake);
        });
    return out;
  }

 private:
  void require_no_nul(const TextPiece& piece, const std::string& where) const {
    if (form_.any_bytes) return;
    const std::size_t at = piece.text().find('\0');
    require(at == std::string_view::npos, where, ": byte ",
            piece.begin + static_cast<int64_t>(at),
            " is 0, expected a text; --text takes any bytes");
  }

  void add_text(Ids ids, const Part& part, Encoded& out) const {
    if (part.starts && part.ends && ids.empty()) {
      ++out.left_out;
      return;
    }
    if (part.starts) {
      out.starts.push_back(out.tokens);
      append(form_.before, out);
    }
    append(ids, out);
    if (part.ends) append(form_.after, out);
  }

  void add_document(std::string_view text, const Part& part, Encoded& out) {
    const int64_t start = out.tokens;
    append(form_.before, out);
    const int64_t begin = out.tokens;
    tokenizer_.encode(text, part.file.path(),
                      [&](Ids ids, int64_t) { append(ids, out); });
    if (out.tokens == begin) {
      out.tokens = start;
      out.bytes.resize(static_cast<std::size_t>(start * bytes_of(form_.type)));
      ++out.left_out;
      return;
    }
    out.starts.push_back(start);
    append(form_.after, out);
  }

  void append(Ids ids, Encoded& out) const {
    const auto width = static_cast<std::size_t>(bytes_of(form_.type));
    std::size_t at = out.bytes.size();
    out.bytes.resize(at + width * ids.size());
    for (const int64_t id : ids) {
      std::memcpy(out.bytes.data() + at, &id, width);  // little-endian
      at += width;
    }
    out.tokens += static_cast<int64_t>(ids.size());
  }

  Tokenizer& tokenizer_;
  const Form& form_;
};

// The token file while it is made: room for the header, the tokens, then the
// documents.
class TokenWriter {
 public:
  TokenWriter(const std::string& path, const Form& form,
              const Tokenizer& tokenizer)
      : path_(path), type_(form.type), file_(path) {
    metadata_ = {{"tokenizer", tokenizer.name()},
                 {"tokenizer_fingerprint", tokenizer.fingerprint()},
                 {"vocab_size", std::to_string(tokenizer.vocab_size())}};
    if (!form.before.empty()) {
      metadata_["bos_id"] = std::to_string(form.before[0]);
    }
    if (!form.after.empty()) {
      metadata_["eos_id"] = std::to_string(form.after[0]);
    }
    constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
    const std::vector<SafetensorsEntry> longest = {
        {"tokens", "U32", {kMost}, kMost, kMost},
        {"padding", "U8", {8}, kMost, kMost},
        {"documents", "I64", {kMost}, kMost, kMost}};
    header_bytes_ = safetensors_header(longest, metadata_).size();
    const std::string room(header_bytes_, ' ');
    file_.append(std::as_bytes(std::span(room)));
  }

  void append(const Encoded& part) {
    for (const int64_t start : part.starts) {
      end_document(tokens_ + start);
      documents_.push_back(tokens_ + start);
    }
    tokens_ += part.tokens;
    left_out_ += part.left_out;
    bad_lines_ += std::ssize(part.bad_lines);
    constexpr std::size_t kMostNamed = 5;
    for (const std::string& line : part.bad_lines) {
      if (first_bad_lines_.size() == kMostNamed) break;
      first_bad_lines_.push_back(line);
    }
    file_.append(std::as_bytes(std::span(part.bytes)));
  }

  void finish(Prepared& result) {
    end_document(tokens_);
    require(tokens_ > 0, path_, ": the inputs have no tokens",
            (bad_lines_ == 0
                 ? ""
                 : "; " + std::to_string(bad_lines_) +
                       " bad line(s), the first one " + first_bad_lines_[0]));
    const int64_t end = tokens_ * bytes_of(type_);
    const int64_t aligned = (end + 7) / 8 * 8;
    const auto count = static_cast<int64_t>(documents_.size());
    const std::string type(name_of(type_).safetensors);
    std::vector<SafetensorsEntry> entries = {
        {"tokens", type, {tokens_}, 0, end}};
    if (aligned != end) {  // other readers want documents at multiples of 8
      entries.push_back({"padding", "U8", {aligned - end}, end, aligned});
      file_.append(std::as_bytes(std::span("\0\0\0\0\0\0\0"))
                       .first(static_cast<std::size_t>(aligned - end)));
    }
    entries.push_back(
        {"documents", "I64", {count}, aligned, aligned + 8 * count});
    file_.append(std::as_bytes(std::span(documents_)));
    const std::string header =
        safetensors_header(entries, metadata_, header_bytes_);
    file_.overwrite(0, std::as_bytes(std::span(header)));
    file_.commit();
    result.type = type_;
    result.tokens = tokens_;
    result.documents = count;
    result.left_out = left_out_;
    result.bad_lines = bad_lines_;
    result.first_bad_lines = first_bad_lines_;
  }

 private:
  // A document of many pieces that had no token is known only at its end.
  void end_document(int64_t end) {
    if (documents_.empty() || documents_.back() != end) return;
    documents_.pop_back();
    ++left_out_;
  }

  std::string path_;
  StoredToken type_;
  NewFile file_;
  std::map<std::string, std::string> metadata_;
  std::size_t header_bytes_ = 0;
  std::vector<int64_t> documents_;  // first tokens
  int64_t tokens_ = 0, left_out_ = 0, bad_lines_ = 0;
  std::vector<std::string> first_bad_lines_;
};

void require_output(const PrepareOptions& options) {
  require(options.out.ends_with(".safetensors"), "--out: ", options.out,
          ", expected a name ending in .safetensors");
  std::error_code ignored;
  require(options.overwrite || !std::filesystem::exists(options.out, ignored),
          "--out: ", options.out, " exists; --overwrite replaces it");
  std::vector<CommandInput> read = {
      {"--tokenizer", tokenizer_path(options.tokenizer)}};
  for (const std::string& input : options.inputs) {
    read.push_back({"INPUT", input});
  }
  require_replaceable("--out", options.out, std::move(read));
}

}  // namespace

Prepared prepare_tokens(const PrepareOptions& options,
                        const std::function<void(int64_t, int64_t)>& progress) {
  require_output(options);
  require(options.threads >= 1, "--threads: ", options.threads,
          ", expected 1 at least");
  // Mistakes of all inputs are told before work begins.
  const std::vector<TextInput> inputs =
      open_inputs({.paths = options.inputs,
                   .field = options.field,
                   .any_bytes = options.any_bytes,
                   .keep_as = options.out + ".input"});
  int64_t total = 0;
  for (const TextInput& input : inputs) total += input.bytes;
  const auto threads = static_cast<int>(
      std::min<int64_t>(options.threads, total / kPartBytes + 1));
  std::vector<std::unique_ptr<Tokenizer>> tokenizers;
  for (int thread = 0; thread < threads; ++thread) {
    tokenizers.push_back(make_tokenizer(options.tokenizer));
    require(tokenizers.back()->fingerprint() == tokenizers[0]->fingerprint(),
            options.tokenizer, ": changed while it was read");
  }
  const Tokenizer& tokenizer = *tokenizers[0];
  const Form form = form_of(options, tokenizer);
  Prepared result = {.source_bytes = total,
                     .tokenizer = tokenizer.name(),
                     .vocab_size = tokenizer.vocab_size()};
  Cutter cutter(inputs, tokenizer);
  TokenWriter writer(options.out, form, tokenizer);
  std::mutex large;
  int64_t done = 0;
  work_in_order(
      threads, [&] { return cutter.next(); },
      [&](int thread, const Part& part) {
        std::unique_lock lock(large, std::defer_lock);
        if (part.size() > kLargeBytes) {
          lock.lock();
          if (part.first_line == 0 &&
              std::cmp_less_equal(part.size(), kMostTextBytes)) {
            tell(part.file.path() + ": " + std::to_string(part.size()) +
                 " bytes at once; no progress is shown meanwhile");
          }
        }
        return Encoder(*tokenizers[thread], form).encode(part);
      },
      [&](const Encoded& encoded) {
        writer.append(encoded);
        progress(done += encoded.source_bytes, total);
      });
  writer.finish(result);
  return result;
}

}  // namespace timepipe
