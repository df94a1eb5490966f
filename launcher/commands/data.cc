// timepipe data prepare and info: token files.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "launcher/commands/commands.h"
#include "launcher/commands/shared_options.h"
#include "launcher/data/prepare.h"
#include "launcher/process/read_progress.h"
#include "runtime/byte_text.h"
#include "runtime/error.h"

namespace timepipe {
namespace {

struct InfoOptions {
  std::vector<std::string> files;
  int64_t sequence_length = 0;  // 0: not asked for
  int64_t vocab_size = 0;       // 0: ids aren't checked
  TokenTypeOption token_type;
};

std::string kind_of(const TokenFile& file) {
  const std::string type = std::string(", ") + name_of(file.layout().type).name;
  switch (file.layout().kind) {
    case FileKind::kSafetensors:
      return ".safetensors" + type;
    case FileKind::kNpy:
      return ".npy" + type;
    case FileKind::kTokenBin:
      return ".bin" + type;
    default:
      return "text, its bytes are the tokens";
  }
}

// The largest id. Throws InvalidArgument naming the first one that isn't in
// [0, vocab_size).
int64_t largest_id(const TokenFile& file, int64_t vocab_size) {
  const int64_t width = bytes_of(file.layout().type);
  ReadProgress progress("data info: " + file.path(), file.num_tokens() * width,
                        "bytes");
  std::vector<int64_t> ids(std::size_t{1} << 20);
  int64_t largest = 0;
  for (int64_t first = 0; first < file.num_tokens();) {
    const int64_t count =
        std::min<int64_t>(std::ssize(ids), file.num_tokens() - first);
    const auto block = std::span(ids).first(static_cast<std::size_t>(count));
    file.read(first, block, vocab_size);
    largest = std::max(largest, *std::ranges::max_element(block));
    first += count;
    progress.at(first * width);
  }
  return largest;
}

void print_documents(const TokenLayout& layout) {
  if (layout.documents.empty()) {
    std::printf("  documents: not listed\n");
    return;
  }
  std::vector<int64_t> lengths(layout.documents.size());
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    const int64_t end =
        i + 1 < lengths.size() ? layout.documents[i + 1] : layout.count;
    lengths[i] = end - layout.documents[i];
  }
  const auto [shortest, longest] = std::ranges::minmax(lengths);
  const auto middle = lengths.begin() + (std::ssize(lengths) - 1) / 2;
  std::ranges::nth_element(lengths, middle);
  std::printf("  documents: %zu; shortest %" PRId64 ", median %" PRId64
              ", longest %" PRId64 " tokens\n",
              lengths.size(), shortest, *middle, longest);
}

void print_tokenizer(const TokenLayout& layout) {
  const auto value = [&](const char* key) -> std::string {
    const auto found = layout.metadata.find(key);
    return found == layout.metadata.end() ? "" : found->second;
  };
  const std::string name = value("tokenizer");
  if (name.empty()) return;
  std::printf("  tokenizer: %s", name.c_str());
  const std::string fingerprint = value("tokenizer_fingerprint");
  if (!fingerprint.empty() && fingerprint != name) {
    std::printf(" (%s)", fingerprint.c_str());
  }
  if (const std::string vocab = value("vocab_size"); !vocab.empty()) {
    std::printf(", vocabulary %s", vocab.c_str());
  }
  if (const std::string bos = value("bos_id"); !bos.empty()) {
    std::printf(", documents begin with %s", bos.c_str());
  }
  if (const std::string eos = value("eos_id"); !eos.empty()) {
    std::printf(", documents end with %s", eos.c_str());
  }
  std::printf("\n");
}

void print(const std::string& path, const InfoOptions& options) {
  const TokenFile file(path, options.token_type.type_or(TokenType::kUint16));
  std::printf("%s: %s, %" PRId64 " tokens\n", path.c_str(),
              kind_of(file).c_str(), file.num_tokens());
  print_documents(file.layout());
  print_tokenizer(file.layout());
  if (options.sequence_length > 0) {
    // Each token predicts the next one: the last one is only a label.
    std::printf(
        "  sequences of %" PRId64 " tokens: %" PRId64 "\n",
        options.sequence_length,
        std::max<int64_t>(file.num_tokens() - 1, 0) / options.sequence_length);
  }
  std::fflush(stdout);
  const bool check = options.vocab_size > 0;
  const int64_t largest = largest_id(
      file, check ? options.vocab_size : std::numeric_limits<int64_t>::max());
  std::printf("  largest id: %" PRId64, largest);
  if (check) std::printf(", all below %" PRId64, options.vocab_size);
  std::printf("\n");
}

// Makes a token file of texts; progress on stderr.
int prepare(const PrepareOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  std::optional<ReadProgress> progress;
  const Prepared prepared =
      prepare_tokens(options, [&](int64_t done, int64_t total) {
        if (!progress) progress.emplace("data prepare", total, "bytes");
        progress->at(done);
      });
  progress.reset();
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
          .count();
  std::printf(
      "%s: %" PRId64 " tokens, %s, of %" PRId64
      " document(s); tokenizer %s, vocabulary %" PRId64 "; %s read in %.1f s\n",
      options.out.c_str(), prepared.tokens, name_of(prepared.type).name,
      prepared.documents, prepared.tokenizer.c_str(), prepared.vocab_size,
      byte_text(prepared.source_bytes).c_str(), seconds);
  if (prepared.left_out > 0) {
    std::printf("left out: %" PRId64 " document(s) without a token\n",
                prepared.left_out);
  }
  if (prepared.bad_lines > 0) {
    std::printf("left out: %" PRId64 " bad line(s)\n", prepared.bad_lines);
    for (const std::string& line : prepared.first_bad_lines) {
      std::printf("  %s\n", line.c_str());
    }
    if (prepared.bad_lines > std::ssize(prepared.first_bad_lines)) {
      std::printf("  ...\n");
    }
  }
  return 0;
}

// Prints what is in token files and texts; progress on stderr.
int info(const InfoOptions& options) {
  for (const std::string& path : options.files) print(path, options);
  return 0;
}

// Ids around documents.
void add_marks(CLI::App& command, PrepareOptions& o) {
  // Functions: a flag's variable would be set without the flag too.
  command.add_flag_function(
      "--bos,!--no-bos", [&o](int64_t count) { o.bos = count > 0; },
      "Put the tokenizer's start id before each document");
  command.add_flag_function(
      "--eos,!--no-eos", [&o](int64_t count) { o.eos = count > 0; },
      "Put the tokenizer's end id after each document; the default if it has "
      "one");
}

void add_prepare(CLI::App& data, int& status) {
  const auto options = std::make_shared<PrepareOptions>();
  PrepareOptions& o = *options;
  o.threads = static_cast<int>(
      std::clamp(std::thread::hardware_concurrency(), 1U, 64U));
  CLI::App& command = *data.add_subcommand(
      "prepare",
      "Make a token file of texts. The official JAX code joins documents with "
      "the tokenizer's end-of-document id after each: that is the default "
      "here, where the tokenizer has one");
  command
      .add_option("INPUT", o.inputs,
                  "JSON lines (.jsonl, .json, .ndjson; with --field under any "
                  "name): each an object, a document in one field; or a text, "
                  "one document; -: standard input. Files of other kinds are "
                  "refused")
      ->required();
  command.add_option("--out", o.out, "Token file to be made, .safetensors")
      ->required();
  command
      .add_option("--tokenizer", o.tokenizer,
                  "bytes, or the path of a sentencepiece model")
      ->capture_default_str();
  CLI::Option* field = command.add_option(
      "--field", o.field,
      "Field of JSON lines with the document. Default: text");
  command
      .add_flag("--text", o.any_bytes,
                "Take every INPUT as a text, whatever its bytes look like")
      ->excludes(field);
  command.add_flag("--skip-bad-lines", o.skip_bad_lines,
                   "Leave out lines that are no JSON object with the field, "
                   "and say how many and which");
  command
      .add_option("--threads", o.threads,
                  "Threads; the file is the same for any number")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  add_marks(command, o);
  command.add_flag("--overwrite", o.overwrite, "Replace --out if it exists");
  command.footer(
      "Examples:\n"
      "  timepipe data prepare books/*.txt --out books.safetensors\n"
      "  timepipe data prepare pile.jsonl --field text \\\n"
      "    --tokenizer llama.model --out pile.safetensors\n"
      "  zstd -dc pile.jsonl.zst | timepipe data prepare - --field text \\\n"
      "    --out pile.safetensors");
  command.callback([=, &status] { status = prepare(*options); });
}

void add_info(CLI::App& data, int& status) {
  const auto options = std::make_shared<InfoOptions>();
  InfoOptions& o = *options;
  CLI::App& command = *data.add_subcommand(
      "info", "Print tokens, documents, tokenizer and largest id of files");
  command
      .add_option("FILE", o.files,
                  "Token files (.safetensors, .bin, .npy) or texts")
      ->required();
  command
      .add_option("--sequence-length", o.sequence_length,
                  "Count the sequences of so many tokens")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 50));
  command
      .add_option("--vocab-size", o.vocab_size, "Check that every id is below")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 50));
  o.token_type.add_to(command, "uint16");
  command.footer(
      "Example:\n"
      "  timepipe data info pile.safetensors --sequence-length 2048 "
      "--vocab-size 32000");
  command.callback([=, &status] { status = info(*options); });
}

}  // namespace

void add_data(CLI::App& app, int& status) {
  CLI::App& data = *app.add_subcommand("data", "Make and look at token files");
  data.require_subcommand(1);
  data.footer("Example:\n  timepipe data prepare --help");
  add_ngram(data, status);
  add_prepare(data, status);
  add_info(data, status);
}

}  // namespace timepipe
