// timepipe eval: the loss of a file read as one text.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cinttypes>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <numbers>
#include <optional>
#include <vector>

#include "kernels/cross_entropy.h"
#include "launcher/checkpoint/open_model.h"
#include "launcher/commands/commands.h"
#include "launcher/commands/shared_options.h"
#include "launcher/generate/loss_by_position.h"
#include "launcher/process/out_of_memory.h"
#include "launcher/process/read_progress.h"
#include "launcher/process/result_file.h"
#include "launcher/process/standard_output.h"
#include "launcher/tokenizer/require_tokenizer.h"
#include "launcher/tokenizer/tokenizer.h"
#include "models/decoder.h"
#include "runtime/number_text.h"
#include "runtime/token_file.h"

namespace timepipe {
namespace {

struct EvalOptions {
  std::string checkpoint, data, json;
  std::string tokenizer;   // empty: the model's
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
  require(range.end - range.begin >= 2,
          options.data + ": " + std::to_string(range.end - range.begin) +
              " token(s) to evaluate, expected at least 2: the first predicts "
              "the next");
  if (options.max_tokens > 0) {
    range.end = range.begin +
                std::min(range.end - range.begin - 1, options.max_tokens) + 1;
  }
  return range;
}

// Reads a range window by window, each from the learned start; the last token
// of a window is the label of its last prediction and the first of the next.
class Evaluation {
 public:
  Evaluation(Context& ctx, const OpenModel& opened, const TokenFile& file)
      : ctx_(ctx),
        file_(file),
        vocab_(opened.config.model.vocab_size),
        piece_(16 * decoder_chunk_tokens(opened.config.model)),
        decoder_(ctx, *opened.model,
                 decoder_chunk_tokens(opened.config.model)) {
    if (opened.config.data.loss == Loss::kJax) {
      not_a_label_ = opened.config.data.bos_id;
    }
  }

  LossByPosition run(const Range& range, int64_t context,
                     ReadProgress& progress) {
    losses_ = {};
    for (int64_t first = range.begin; first < range.end - 1;) {
      const int64_t tokens = std::min(context, range.end - 1 - first);
      window(first, tokens, progress);
      first += tokens;
    }
    return losses_;
  }

 private:
  // In pieces, so that memory doesn't grow with the window.
  void window(int64_t first, int64_t tokens, ReadProgress& progress) {
    decoder_.restart();
    for (int64_t done = 0; done < tokens;) {
      const int64_t count = std::min(piece_, tokens - done);
      ids_.resize(static_cast<std::size_t>(count + 1));
      file_.read(first + done, ids_, vocab_);
      decoder_.read(std::span(ids_).first(static_cast<std::size_t>(count)),
                    [&](int64_t row, const Tensor& logits) {
                      add(done + row, row, logits);
                      progress.add(logits.dim(0));
                    });
      done += count;
    }
  }

  // place: of the first row in its window; row: in ids_.
  void add(int64_t place, int64_t row, const Tensor& logits) {
    const int64_t rows = logits.dim(0);
    Tensor targets = ctx_.allocate({rows}, DType::kI64);
    Tensor losses = ctx_.allocate({rows}, DType::kF64);
    int64_t* target = targets.data<int64_t>();
    for (int64_t r = 0; r < rows; ++r) {
      target[r] = ids_[static_cast<std::size_t>(row + r + 1)];
      if (target[r] == not_a_label_) target[r] = kIgnoredTarget;
    }
    token_losses(logits, targets, losses);
    for (int64_t r = 0; r < rows; ++r) {
      if (target[r] == kIgnoredTarget) continue;
      losses_.add(place + r + 1, losses.data<double>()[r]);
    }
  }

  Context& ctx_;
  const TokenFile& file_;
  int64_t vocab_, piece_;
  std::optional<int64_t> not_a_label_;
  Decoder decoder_;
  std::vector<int64_t> ids_;
  LossByPosition losses_;
};

// Bytes of the text that the range's predictions stand for; none if that isn't
// known, and a line that says why if the tokenizer should have told.
std::optional<int64_t> bytes_of_range(const TokenFile& file, const Range& range,
                                      const std::string& name,
                                      int64_t vocab_size) {
  const int64_t predictions = range.end - range.begin - 1;
  if (name == "bytes") {
    // Files of wider ids don't say what made them.
    if (vocab_size == 256 || file.layout().type == StoredToken::kU8) {
      return predictions;
    }
    return std::nullopt;
  }
  constexpr int64_t kPiece = 1 << 16;
  try {
    const auto tokenizer = make_tokenizer(name);
    int64_t bytes = 0;
    std::vector<int64_t> ids;
    for (int64_t first = range.begin + 1; first < range.end; first += kPiece) {
      ids.resize(static_cast<std::size_t>(std::min(kPiece, range.end - first)));
      file.read(first, ids, vocab_size);
      bytes += bytes_of_text(*tokenizer, ids);
    }
    // The space that is put before a document isn't of its text.
    const int64_t space =
        bytes_of_text(*tokenizer, tokenizer->encode("a", "")) - 1;
    bytes -=
        space *
        std::ranges::count_if(file.layout().documents, [&](int64_t document) {
          return range.begin < document && document < range.end;
        });
    if (bytes > 0) return bytes;
    std::fprintf(stderr, "timepipe: bits per byte not known: no text\n");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "timepipe: bits per byte not known: %s\n",
                 line_of(error).c_str());
  }
  return std::nullopt;
}

// What a run of the command found.
struct Findings {
  const EvalOptions& options;
  const OpenModel& opened;
  Range range;
  int64_t context;
  LossByPosition losses;
  double seconds;
  std::optional<double> bits_per_byte;

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
      f.options.data + line(", windows of %" PRId64 " tokens\n", f.context) +
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
  if (!options.json.empty()) require_can_be_written(options.json);
  Context ctx;
  const OpenModel opened = open_model(ctx, options.checkpoint);
  const DataConfig& data = opened.config.data;
  const TokenFile file(options.data, stored_token(data.token_type));
  const std::string& tokenizer =
      options.tokenizer.empty() ? data.tokenizer : options.tokenizer;
  require_tokenizer(file.layout(), options.data, tokenizer);
  const Range range = range_of(options, data, file.num_tokens());
  const int64_t predictions = range.end - range.begin - 1;
  int64_t context =
      options.context < 0 ? data.sequence_length : options.context;
  if (context == 0 || context > predictions) context = predictions;

  ReadProgress progress("eval", predictions);
  Findings findings{options,
                    opened,
                    range,
                    context,
                    Evaluation(ctx, opened, file).run(range, context, progress),
                    progress.seconds(),
                    std::nullopt};
  require(findings.losses.tokens() > 0,
          options.data +
              ": no label: all are data.bos_id, which "
              "data.loss = jax leaves out");
  const std::optional<int64_t> bytes =
      bytes_of_range(file, range, tokenizer, opened.config.model.vocab_size);
  if (bytes) {
    findings.bits_per_byte = findings.bits_per_token() *
                             static_cast<double>(findings.losses.tokens()) /
                             static_cast<double>(*bytes);
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
      "eval", "Loss, perplexity and bits per byte of a file, read as one text");
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
  command.add_flag(
      "--held-out", o->held_out,
      "Only what training never read: the last data.held_out of --data");
  command.add_option("--max-tokens", o->max_tokens, "Predictions, at most")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40));
  command.add_flag("--by-position", o->by_position,
                   "Loss by the number of tokens read before, too");
  command.add_option("--tokenizer", o->tokenizer, kTokenizerHelp);
  command.add_option("--json", o->json,
                     "Write the result to this file or pipe, too; - or "
                     "/dev/stdout: there instead of the text");
  command.footer(
      "JSON keys: checkpoint, step, data, held_out, first_token, context,\n"
      "  tokens (predictions), loss (nats), perplexity, bits_per_token,\n"
      "  bits_per_byte (null: not known), seconds, tokens_per_second,\n"
      "  by_position: first and last number of tokens read before, tokens, "
      "loss\n"
      "Example:\n"
      "  timepipe eval runs/bible --data bible.txt --held-out --by-position");
  command.callback([=, &status] { status = eval(*o); });
}

}  // namespace timepipe
