// timepipe generate: text that goes on from a prompt.

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <memory>
#include <optional>
#include <vector>

#include "launcher/checkpoint/open_model.h"
#include "launcher/commands/commands.h"
#include "launcher/commands/shared_options.h"
#include "launcher/generate/prefill.h"
#include "launcher/generate/sampler.h"
#include "launcher/process/result_file.h"
#include "launcher/process/standard_output.h"
#include "launcher/run/metrics.h"
#include "launcher/tokenizer/require_tokenizer.h"
#include "runtime/byte_text.h"
#include "runtime/files.h"
#include "runtime/transfer.h"

namespace timepipe {
namespace {

struct GenerateOptions {
  std::string checkpoint, prompt, prompt_file, state_in, state_out;
  std::string tokenizer;  // empty: the model's
  int64_t max_new_tokens = 256;
  SamplerOptions sampler;
  bool bos = false, ignore_eos = false, ids = false;
  ComputeTypeOption compute;
  DeviceOption device;
  TokenTypeOption token_type;  // of prompt_file
};

// All of a stream, without a byte order mark. Throws InvalidArgument unless it
// is a text.
std::string read_text_stream(const std::string& path) {
  std::string text;
  read_stream(path, [&](ConstBytes bytes) {
    text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  });
  require_plain_text(name_of_stream(path), std::string_view(text));
  return text.substr(bom_bytes(text));
}

// Whether --prompt-file holds tokens. Throws InvalidArgument if it is neither
// that nor a text; JSON is one.
bool has_prompt_of_tokens(const GenerateOptions& options) {
  const std::string& path = options.prompt_file;
  if (path.empty() || is_stream(path)) return false;
  const FileContents contents = file_contents(path, InputFile(path));
  if (is_token_file(contents.kind)) return true;
  if (contents.kind == FileKind::kText || contents.kind == FileKind::kJson ||
      contents.kind == FileKind::kJsonLines) {
    return false;
  }
  throw_other_kind(path, contents, "a text or tokens", false);
}

const std::string& tokenizer_name(const GenerateOptions& options,
                                  const OpenModel& opened) {
  return options.tokenizer.empty() ? opened.config.data.tokenizer
                                   : options.tokenizer;
}

// What makes tokens of the prompt's text and text of new ones; null if neither
// is asked for.
std::unique_ptr<Tokenizer> tokenizer_for(const GenerateOptions& options,
                                         const OpenModel& opened) {
  if (options.ids && options.tokenizer.empty() &&
      has_prompt_of_tokens(options)) {
    return nullptr;
  }
  const std::string& name = tokenizer_name(options, opened);
  auto tokenizer = make_tokenizer(name);
  const int64_t vocab = opened.config.model.vocab_size;
  require(tokenizer->vocab_size() <= vocab, "tokenizer ", name, ": ",
          tokenizer->vocab_size(), " ids, expected at most the model's ", vocab,
          ": see --tokenizer, or --ids with a prompt file of tokens");
  return tokenizer;
}

// The id that starts a text: config.json's, else the tokenizer's.
std::optional<int64_t> start_id(const OpenModel& opened,
                                const Tokenizer* tokenizer) {
  if (opened.hf.bos_token_id || tokenizer == nullptr) {
    return opened.hf.bos_token_id;
  }
  return tokenizer->bos_id();
}

// The ids that end one, likewise.
std::vector<int64_t> end_ids(const OpenModel& opened,
                             const Tokenizer* tokenizer) {
  std::vector<int64_t> ids = opened.hf.eos_token_ids;
  if (ids.empty() && tokenizer != nullptr && tokenizer->eos_id()) {
    ids.push_back(*tokenizer->eos_id());
  }
  return ids;
}

void read_prompt(const GenerateOptions& options, const OpenModel& opened,
                 Tokenizer* tokenizer, Prefill& prefill) {
  const std::string& path = options.prompt_file;
  if (options.bos) {
    const auto bos = start_id(opened, tokenizer);
    require(bos.has_value(),
            "--bos: neither model nor tokenizer has an id for the start");
    prefill.add(std::span(&*bos, 1));
  }
  if (has_prompt_of_tokens(options)) {
    const TokenFile file(
        path, options.token_type.type_or(opened.config.data.token_type));
    if (tokenizer != nullptr) {
      require_tokenizer(file.layout(), path, tokenizer_name(options, opened));
    }
    prefill.add_file(file, opened.config.model.vocab_size);
  } else if (is_stream(path)) {
    prefill.add_text(std::string_view(read_text_stream(path)),
                     name_of_stream(path), *tokenizer);
  } else if (!path.empty()) {
    const InputFile file(path);
    prefill.add_text(text_of(file), path, *tokenizer);
  } else {
    prefill.add_text(std::string_view(options.prompt), "--prompt", *tokenizer);
  }
}

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Writes new tokens as they come, as text or as ids.
class Writer {
 public:
  // tail: the end of the prompt, which decides whether a space is written.
  Writer(Tokenizer* tokenizer, std::span<const int64_t> tail, bool ids)
      : ids_(ids) {
    if (ids || tokenizer == nullptr) return;
    text_.emplace(*tokenizer);
    for (const int64_t id : tail) text_->add(id);
  }

  void write(int64_t id) {
    const std::string text = ids_ ? std::to_string(id) + " " : text_->add(id);
    if (!text.empty()) write_output(text);
  }
  void finish() {
    const std::string text = ids_ ? "" : text_->finish();
    const bool line = ids_ || ::isatty(STDOUT_FILENO) == 1;
    if (line || !text.empty()) write_output(text + (line ? "\n" : ""));
  }

 private:
  bool ids_;
  std::optional<TextStream> text_;
};

// Returns how many tokens were written, of ids [0, num_ids).
int64_t write_tokens(Context& ctx, const GenerateOptions& options,
                     const std::vector<int64_t>& ends, int64_t num_ids,
                     Tensor logits, Decoder& decoder, Writer& writer) {
  for (int64_t count = 0; count < options.max_new_tokens; ++count) {
    const Tensor of_ids = logits.reshape({logits.numel()}).slice(0, num_ids);
    const int64_t id = sample(options.sampler, decoder.state().tokens_read,
                              download(ctx, of_ids));
    if (std::ranges::count(ends, id) > 0 && !options.ignore_eos) return count;
    writer.write(id);
    const bool last = count + 1 == options.max_new_tokens;
    // A saved state has read all that was written.
    if (!last || !options.state_out.empty()) {
      logits = decoder.read(std::span(&id, 1));
    }
  }
  return options.max_new_tokens;
}

void report(int64_t prompt, double prompt_seconds, int64_t written,
            double seconds) {
  std::fprintf(
      stderr,
      "timepipe: prompt of %" PRId64 " tokens: %.2f s, %.0f tokens/s; %" PRId64
      " new tokens: %.2f s, %.1f tokens/s; %s of memory at most\n",
      prompt, prompt_seconds, static_cast<double>(prompt) / prompt_seconds,
      written, seconds, static_cast<double>(written) / seconds,
      byte_text(peak_rss_bytes()).c_str());
}

int generate(const GenerateOptions& options) {
  validate(options.sampler);
  if (!options.state_out.empty()) {  // which may replace that of --state-in
    require_replaceable("--state-out", options.state_out,
                        {{"--prompt-file", options.prompt_file},
                         {"CHECKPOINT", options.checkpoint}});
    require_can_be_made(options.state_out);
  }
  Context ctx(options.device.device());
  const OpenModel opened =
      open_model(ctx, options.checkpoint, options.compute.type());
  const ModelConfig& model = opened.config.model;
  require_no_input(
      "--state-out", options.state_out,
      {{"the tokenizer", tokenizer_path(tokenizer_name(options, opened))}});
  Decoder decoder(ctx, *opened.model, decoder_chunk_tokens(model));
  if (!options.state_in.empty()) {
    decoder.restart(load_hidden_state(ctx, options.state_in, *opened.model,
                                      "--state-in: " + options.state_in));
  }
  const auto tokenizer = tokenizer_for(options, opened);

  const auto start = Clock::now();
  Prefill prefill(decoder, 16 * decoder_chunk_tokens(model));
  read_prompt(options, opened, tokenizer.get(), prefill);
  const Tensor logits = prefill.finish();
  require(!logits.empty(),
          options.state_in.empty()
              ? "prompt: empty, expected one token at least; see --bos"
              : "prompt: empty, expected one token at least: a hidden state "
                "says what was read, not what comes next");
  const double prompt_seconds = seconds_since(start);

  const auto start_of_new = Clock::now();
  Writer writer(tokenizer.get(), prefill.tail(), options.ids);
  const int64_t num_ids =
      tokenizer ? tokenizer->vocab_size() : model.vocab_size;
  const int64_t count =
      write_tokens(ctx, options, end_ids(opened, tokenizer.get()), num_ids,
                   logits, decoder, writer);
  writer.finish();
  const double seconds = seconds_since(start_of_new);
  if (!options.state_out.empty()) {
    save_hidden_state(ctx, options.state_out, decoder.state(), model);
  }
  report(prefill.tokens(), prompt_seconds, count, seconds);
  return 0;
}

void add_sampling(CLI::App& command, SamplerOptions& o) {
  CLI::Option* temperature =
      command
          .add_option("--temperature", o.temperature,
                      "Divides the logits; 0: always the most probable")
          ->capture_default_str();
  CLI::Option* top_k = command.add_option(
      "--top-k", o.top_k, "Only the K most probable tokens; 0: all");
  CLI::Option* top_p = command.add_option(
      "--top-p", o.top_p,
      "Only the most probable tokens whose sum first reaches P");
  CLI::Option* seed = command.add_option(
      "--seed", o.seed, "Of the random numbers, one for each position");
  seed->check([](const std::string& text) {  // else -1 would be 2^64 - 1
    const bool digits = text.find_first_not_of("0123456789") == text.npos;
    return digits && text.size() < 20 ? "" : text + ", expected 0 to 10^19 - 1";
  });
  seed->capture_default_str();
  command
      .add_flag_callback(
          "--greedy", [&o] { o.temperature = 0; },
          "Always the most probable token")
      ->excludes(temperature, top_k, top_p, seed);
}

}  // namespace

void add_generate(CLI::App& app, int& status) {
  CLI::App& command = *app.add_subcommand(
      "generate", "Write text that goes on from a prompt, to standard output");
  const auto o = std::make_shared<GenerateOptions>();
  command.add_option("CHECKPOINT", o->checkpoint, kCheckpointHelp)->required();
  CLI::Option* prompt =
      command.add_option("--prompt", o->prompt, "Text to go on from");
  CLI::Option* file = command.add_option(
      "--prompt-file", o->prompt_file,
      "File with it, of any length: a text, or tokens (.safetensors, .bin, "
      ".npy); a text from a pipe, or standard input: -");
  file->excludes(prompt);
  command.add_option("--max-new-tokens", o->max_new_tokens, "Tokens to write")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40))
      ->capture_default_str();
  add_sampling(command, o->sampler);
  command.add_option("--tokenizer", o->tokenizer, kTokenizerHelp);
  o->token_type.add_to(command, kTokenTypeOfModel);
  o->compute.add_to(command);
  o->device.add_to(command);
  command.add_flag("--bos", o->bos, "Put the id for a start before the prompt");
  command.add_option("--state-in", o->state_in,
                     "Hidden state to go on from, instead of the learned one");
  command.add_option("--state-out", o->state_out,
                     "Save the hidden state after all that was read and "
                     "written to this file");
  command.add_flag("--ignore-eos", o->ignore_eos,
                   "Go on after the token that ends a text");
  command.add_flag("--ids", o->ids, "Write token ids, not text");
  command.footer(
      "Examples:\n"
      "  timepipe generate runs/bible --prompt 'In the beginning' --top-p 0.9\n"
      "  timepipe generate runs/bible --prompt-file bible.txt "
      "--max-new-tokens 0 \\\n"
      "    --state-out bible.state\n"
      "  timepipe generate runs/bible --state-in bible.state --prompt 'And "
      "he'");
  command.callback([=, &status] { status = generate(*o); });
}

}  // namespace timepipe
