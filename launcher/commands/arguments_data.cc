#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include "launcher/commands/arguments.h"
#include "launcher/commands/commands.h"
#include "launcher/commands/data.h"

namespace timepipe {
namespace {

void add_data_ngram(CLI::App& data, int& status) {
  const auto o = std::make_shared<NgramOptions>();
  CLI::App& ngram = *data.add_subcommand(
      "ngram", "Bits per byte of n-gram models, as a baseline");
  ngram.add_option("--train", o->file, "Text to learn from, but for its end")
      ->required();
  ngram
      .add_option("--held-out", o->held_out,
                  "Share at its end to score, as data.held_out")
      ->required();
  ngram.add_option("--max-order", o->max_order, "Bytes of a gram at most, 2-8")
      ->capture_default_str();
  ngram.footer("Example:\n  timepipe data ngram --train a.txt --held-out 0.02");
  ngram.callback([=, &status] { status = cmd_data_ngram(*o); });
}

}  // namespace

void add_data(CLI::App& app, int& status) {
  CLI::App& data = *app.add_subcommand("data", "Make and look at token files");
  data.require_subcommand(1);
  data.footer("Example:\n  timepipe data prepare --help");
  add_data_ngram(data, status);

  auto prepare_options = std::make_shared<PrepareOptions>();
  PrepareOptions& p = *prepare_options;
  p.threads = static_cast<int>(
      std::clamp(std::thread::hardware_concurrency(), 1U, 64U));
  CLI::App& prepare = *data.add_subcommand(
      "prepare",
      "Make a token file of texts. The official JAX code joins documents with "
      "the tokenizer's end-of-document id after each: that is the default "
      "here, where the tokenizer has one");
  prepare
      .add_option("INPUT", p.inputs,
                  ".jsonl: each line an object, a document in one field; any "
                  "other: a text, one document")
      ->required();
  prepare.add_option("--out", p.out, "Token file to be made, .safetensors")
      ->required();
  prepare
      .add_option("--tokenizer", p.tokenizer,
                  "bytes, or the path of a sentencepiece model")
      ->capture_default_str();
  prepare.add_option("--field", p.field, "Field of .jsonl with the document")
      ->capture_default_str();
  prepare
      .add_option("--threads", p.threads,
                  "Threads; the file is the same for any number")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  // Functions: a flag's variable would be set without the flag too.
  prepare.add_flag_function(
      "--bos,!--no-bos", [&p](int64_t count) { p.bos = count > 0; },
      "Put the tokenizer's start id before each document");
  prepare.add_flag_function(
      "--eos,!--no-eos", [&p](int64_t count) { p.eos = count > 0; },
      "Put the tokenizer's end id after each document; the default if it has "
      "one");
  prepare.add_flag("--overwrite", p.overwrite, "Replace --out if it exists");
  prepare.footer(
      "Examples:\n"
      "  timepipe data prepare books/*.txt --out books.safetensors\n"
      "  timepipe data prepare pile.jsonl --field text \\\n"
      "    --tokenizer llama.model --out pile.safetensors");
  prepare.callback([prepare_options, &status] {
    status = cmd_data_prepare(*prepare_options);
  });

  auto info_options = std::make_shared<DataInfoOptions>();
  DataInfoOptions& i = *info_options;
  CLI::App& info = *data.add_subcommand(
      "info", "Print tokens, documents, tokenizer and largest id of files");
  info.add_option("FILE", i.files,
                  "Token files (.safetensors, .bin, .npy) or texts")
      ->required();
  info.add_option("--sequence-length", i.sequence_length,
                  "Count the sequences of so many tokens")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 50));
  info.add_option("--vocab-size", i.vocab_size, "Check that every id is below")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 50));
  info.add_option("--token-type", i.raw,
                  "uint16 or uint32: tokens of a .bin without a header")
      ->transform(CLI::CheckedTransformer(std::map<std::string, StoredToken>{
          {"uint16", StoredToken::kU16}, {"uint32", StoredToken::kU32}}));
  info.footer(
      "Example:\n"
      "  timepipe data info pile.safetensors --sequence-length 2048 "
      "--vocab-size 32000");
  info.callback(
      [info_options, &status] { status = cmd_data_info(*info_options); });
}

}  // namespace timepipe
