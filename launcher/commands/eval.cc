// timepipe eval: the loss of a file, read as the run read its data.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cinttypes>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <numbers>
#include <optional>
#include <vector>

#include "launcher/checkpoint/open_model.h"
#include "launcher/commands/commands.h"
#include "launcher/commands/evaluation.h"
#include "launcher/commands/shared_options.h"
#include "launcher/process/read_progress.h"
#include "launcher/process/result_file.h"
#include "launcher/process/standard_output.h"
#include "launcher/tokenizer/require_tokenizer.h"
#include "runtime/number_text.h"
#include "runtime/token_file.h"

namespace timepipe {
namespace {

// By Documents.
constexpr std::array kDocuments = {"joined", "reset", "carry"};

struct EvalOptions {
  std::string checkpoint, data, json;
  std::string tokenizer;  // empty: the model's
  std::string documents;  // a name of kDocuments; empty: the model's
  ComputeTypeOption compute;
  DeviceOption device;
  TokenTypeOption token_type;
  int64_t context = -1;    // tokens of a window; 0: all; -1: as in training
  int64_t max_tokens = 0;  // predictions; 0: all
  bool by_position = false, held_out = false;
};

// Tokens [begin, end) of the file: all of it, or what training never read.
struct Range {
  int64_t begin, end;
};

Range range_of(const EvalOptions& options, const DataConfig& data,
               int64_t tokens) {
  Range range{0, tokens};
  if (options.held_out) {
    require(data.held_out > 0,
            "--held-out: the model's configuration has data.held_out = 0, "
            "expected a share above 0");
    range.begin = tokens - held_out_tokens(tokens, data.held_out);
  }
  require(range.end - range.begin >= 2, options.data, ": ",
          range.end - range.begin,
          " token(s) to evaluate, expected at least 2: the first predicts "
          "the next");
  if (options.max_tokens > 0) {
    range.end = range.begin +
                std::min(range.end - range.begin - 1, options.max_tokens) + 1;
  }
  return range;
}

Documents documents_of(const EvalOptions& options, const DataConfig& data) {
  if (options.documents.empty()) return data.documents;
  return static_cast<Documents>(
      std::ranges::find(kDocuments, options.documents) - kDocuments.begin());
}

// First tokens of what is read as documents: one, if the file is one text.
std::vector<int64_t> starts_of(Documents documents, const OpenModel& opened,
                               const TokenFile& file, const Range& range) {
  if (documents == Documents::kJoined) return {range.begin};
  require(!file.layout().documents.empty() || opened.config.data.bos_id >= 0,
          file.path(),
          ": lists no documents, and data.bos_id of the model's "
          "configuration names no token that starts one: expected "
          "--documents joined, or a file of timepipe data prepare, which "
          "lists them");
  return document_starts(file, range.begin, range.end,
                         opened.config.data.bos_id,
                         opened.config.model.vocab_size);
}

// What a run of the command found.
struct Findings {
  const EvalOptions& options;
  const OpenModel& opened;
  Range range;
  int64_t context;
  Documents documents;
  LossByPosition losses;
  double seconds;
  std::optional<double> bits_per_byte;

  const char* documents_name() const {
    return kDocuments[static_cast<std::size_t>(documents)];
  }
  double loss() const { return losses.mean(); }
  double bits_per_token() const { return loss() / std::numbers::ln2; }
};

template <class... Args>
std::string line(const char* format, Args... args) {
  char text[256];
  std::snprintf(text, sizeof(text), format, args...);
  return text;
}

std::string text_of(const Findings& f) {
  std::string text =
      f.opened.folder + ", step " + std::to_string(f.opened.steps) + "\n" +
      line("%" PRId64 " predictions of tokens %" PRId64 " to %" PRId64 " of ",
           f.losses.tokens(), f.range.begin, f.range.end - 1) +
      f.options.data +
      line(", windows of %" PRId64 " tokens, documents %s\n", f.context,
           f.documents_name()) +
      "loss " + significant(f.loss(), 7) + "  perplexity " +
      significant(std::exp(f.loss()), 7) +
      (f.bits_per_byte
           ? "  bits per byte " + significant(*f.bits_per_byte, 5) + "\n"
           : "  bits per token " + significant(f.bits_per_token(), 5) +
                 " (bits per byte not known)\n");
  if (!f.options.by_position) return text;
  text += "tokens read before         loss   predictions\n";
  for (const LossByPosition::Bucket& b : f.losses.buckets()) {
    text += line("%8" PRId64 " to %7" PRId64 "  %10s  %12" PRId64 "\n", b.first,
                 std::min(b.last, f.context), significant(b.mean(), 5).c_str(),
                 b.tokens);
  }
  return text;
}

std::string json_of(const Findings& f) {
  nlohmann::ordered_json j;
  j["checkpoint"] = f.opened.folder;
  j["step"] = f.opened.steps;
  j["data"] = f.options.data;
  j["held_out"] = f.options.held_out;
  j["documents"] = f.documents_name();
  j["first_token"] = f.range.begin;
  j["context"] = f.context;
  j["tokens"] = f.losses.tokens();
  j["loss"] = f.loss();
  j["perplexity"] = std::exp(f.loss());
  j["bits_per_token"] = f.bits_per_token();
  j["bits_per_byte"] = nullptr;
  if (f.bits_per_byte) j["bits_per_byte"] = *f.bits_per_byte;
  j["seconds"] = f.seconds;
  j["tokens_per_second"] = static_cast<double>(f.losses.tokens()) / f.seconds;
  j["by_position"] = nlohmann::ordered_json::array();
  for (const LossByPosition::Bucket& b : f.losses.buckets()) {
    j["by_position"].push_back({{"first", b.first},
                                {"last", std::min(b.last, f.context)},
                                {"tokens", b.tokens},
                                {"loss", b.mean()}});
  }
  // A path may be no UTF-8.
  return j.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

int eval(const EvalOptions& options) {
  if (!options.json.empty()) {
    require_no_input(
        "--json", options.json,
        {{"--data", options.data}, {"CHECKPOINT", options.checkpoint}});
    require_can_be_written(options.json);
  }
  Context ctx(options.device.device());
  const OpenModel opened =
      open_model(ctx, options.checkpoint, options.compute.type());
  const DataConfig& data = opened.config.data;
  const TokenFile file(options.data,
                       options.token_type.type_or(data.token_type));
  const std::string& tokenizer =
      options.tokenizer.empty() ? data.tokenizer : options.tokenizer;
  require_no_input("--json", options.json,
                   {{"the tokenizer", tokenizer_path(tokenizer)}});
  require_tokenizer(file.layout(), options.data, tokenizer);
  const Range range = range_of(options, data, file.num_tokens());
  const Documents documents = documents_of(options, data);
  const std::vector<int64_t> starts = starts_of(documents, opened, file, range);
  constexpr int64_t kAll = int64_t{1} << 62;
  const int64_t context =
      options.context < 0 ? data.sequence_length : options.context;
  const SequencePacker windows(starts, range.end, context == 0 ? kAll : context,
                               opened.config.model.mini_batch_size);

  const int64_t predictions = range.end - range.begin - 1;
  LabelBytes bytes(file, tokenizer, opened.config.model.vocab_size);
  ReadProgress progress("eval", predictions);
  Findings findings{
      options,
      opened,
      range,
      context == 0 ? predictions : std::min(context, predictions),
      documents,
      Evaluation(ctx, opened, file, documents, bytes).run(windows, progress),
      progress.seconds(),
      std::nullopt};
  require(findings.losses.tokens() > 0, options.data,
          ": no label: a document's last token has none, and data.loss = "
          "jax leaves data.bos_id out");
  if (const auto total = bytes.total()) {
    findings.bits_per_byte = findings.bits_per_token() *
                             static_cast<double>(findings.losses.tokens()) /
                             static_cast<double>(*total);
  } else if (!bytes.mistake().empty()) {
    std::fprintf(stderr, "timepipe: bits per byte not known: %s\n",
                 bytes.mistake().c_str());
  }
  // Whoever wants JSON on standard output wants nothing else there.
  if (is_standard_output(options.json)) {
    std::cerr << text_of(findings);
  } else {
    write_output(text_of(findings));
  }
  if (!options.json.empty()) write_result(options.json, json_of(findings));
  return 0;
}

}  // namespace

void add_eval(CLI::App& app, int& status) {
  CLI::App& command = *app.add_subcommand(
      "eval",
      "Loss, perplexity and bits per byte of a file, read as the run read its "
      "data");
  const auto o = std::make_shared<EvalOptions>();
  command.add_option("CHECKPOINT", o->checkpoint, kCheckpointHelp)->required();
  command
      .add_option("--data", o->data,
                  "File of tokens (.safetensors, .bin, .npy), or a text")
      ->required();
  command
      .add_option("--context", o->context,
                  "Tokens of a window, each window from the learned start; 0: "
                  "all, the state carried. Default: data.sequence_length")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40));
  command
      .add_option("--documents", o->documents,
                  "What documents see of those before them: joined (the file "
                  "is one text), reset (nothing), carry (the hidden state); "
                  "windows are those of training then, in which a document's "
                  "last token has no label. Default: data.documents of the "
                  "model's configuration")
      ->check(CLI::IsMember(
          std::vector<std::string>(kDocuments.begin(), kDocuments.end())));
  command.add_flag(
      "--held-out", o->held_out,
      "Only what training never read: the last data.held_out of --data");
  command.add_option("--max-tokens", o->max_tokens, "Predictions, at most")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40));
  command.add_flag("--by-position", o->by_position,
                   "Loss by the number of tokens read before, too");
  command.add_option("--tokenizer", o->tokenizer, kTokenizerHelp);
  o->token_type.add_to(command, kTokenTypeOfModel);
  o->compute.add_to(command);
  o->device.add_to(command);
  command.add_option("--json", o->json,
                     "Write the result to this file or pipe, too; - or "
                     "/dev/stdout: there instead of the text");
  command.footer(
      "JSON keys: checkpoint, step, data, held_out, documents, first_token,\n"
      "  context, tokens (predictions), loss (nats), perplexity, "
      "bits_per_token,\n"
      "  bits_per_byte (null: not known), seconds, tokens_per_second,\n"
      "  by_position: first and last number of tokens read before, tokens, "
      "loss\n"
      "Example:\n"
      "  timepipe eval runs/bible --data bible.txt --held-out --by-position");
  command.callback([=, &status] { status = eval(*o); });
}

}  // namespace timepipe
