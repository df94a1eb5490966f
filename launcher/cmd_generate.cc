#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <optional>
#include <vector>

#include "launcher/commands.h"
#include "launcher/metrics.h"
#include "launcher/open_model.h"
#include "launcher/standard_output.h"
#include "launcher/token_progress.h"
#include "models/decoder.h"
#include "runtime/token_file.h"

namespace timepipe {
namespace {

// Tokens to go on from, in a file or in memory.
class Prompt {
 public:
  Prompt(const GenerateOptions& options, const OpenModel& opened)
      : vocab_(opened.config.model.vocab_size) {
    if (!options.prompt_file.empty()) {
      file_.emplace(options.prompt_file, StoredToken::kU16);
    } else {
      for (const char c : options.prompt) {
        ids_.push_back(static_cast<unsigned char>(c));
      }
    }
  }

  int64_t tokens() const {
    return file_ ? file_->num_tokens() : static_cast<int64_t>(ids_.size());
  }
  void read(int64_t first, std::span<int64_t> ids) const {
    if (file_) return file_->read(first, ids, vocab_);
    std::copy_n(ids_.begin() + first, ids.size(), ids.begin());
  }

 private:
  int64_t vocab_;
  std::optional<TokenFile> file_;
  std::vector<int64_t> ids_;
};

// The logits of the next token. In pieces: a prompt may be larger than memory.
Tensor read_prompt(const Prompt& prompt, int64_t piece, Decoder& decoder) {
  TokenProgress progress("reads the prompt", prompt.tokens());
  std::vector<int64_t> ids;
  Tensor logits;
  for (int64_t done = 0; done < prompt.tokens();) {
    ids.resize(
        static_cast<std::size_t>(std::min(piece, prompt.tokens() - done)));
    prompt.read(done, ids);
    logits = decoder.read(ids);
    done += static_cast<int64_t>(ids.size());
    progress.add(static_cast<int64_t>(ids.size()));
  }
  return logits;
}

std::string text_of(const GenerateOptions& options, int64_t id) {
  if (options.ids) return std::to_string(id) + " ";
  require(id < 256, "token id " + std::to_string(id) +
                        ": isn't a byte; --ids prints ids");
  return {static_cast<char>(id)};
}

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Returns how many tokens were written.
int64_t generate(const GenerateOptions& options, std::optional<int64_t> eos,
                 Tensor logits, Decoder& decoder) {
  for (int64_t count = 0; count < options.max_new_tokens; ++count) {
    const int64_t id =
        sample(options.sampler, decoder.state().tokens_read, logits);
    if (id == eos && !options.ignore_eos) return count;
    write_output(text_of(options, id));
    const bool last = count + 1 == options.max_new_tokens;
    // A saved state has read all that was written.
    if (!last || !options.state_out.empty()) {
      logits = decoder.read(std::span(&id, 1));
    }
  }
  return options.max_new_tokens;
}

}  // namespace

int cmd_generate(const GenerateOptions& options) {
  validate(options.sampler);
  Context ctx;
  const OpenModel opened = open_model(ctx, options.checkpoint);
  Decoder decoder(ctx, *opened.model,
                  decoder_chunk_tokens(opened.config.model));
  if (!options.state_in.empty()) {
    decoder.restart(load_hidden_state(ctx, options.state_in, *opened.model));
  }
  const Prompt prompt(options, opened);
  require(prompt.tokens() > 0,
          options.state_in.empty()
              ? "prompt: empty, expected one token at least"
              : "prompt: empty, expected one token at least: a hidden state "
                "says what was read, not what comes next");

  const auto start = Clock::now();
  const Tensor logits = read_prompt(
      prompt, 16 * decoder_chunk_tokens(opened.config.model), decoder);
  const double prompt_seconds = seconds_since(start);
  const auto start_of_new = Clock::now();
  const int64_t count =
      generate(options, opened.hf.eos_token_id, logits, decoder);
  const double seconds = seconds_since(start_of_new);
  if (options.ids || ::isatty(STDOUT_FILENO) == 1) write_output("\n");
  if (!options.state_out.empty()) {
    save_hidden_state(options.state_out, decoder.state(), opened.config.model);
  }
  std::fprintf(stderr,
               "timepipe: prompt of %" PRId64
               " tokens: %.2f s, %.0f tokens/s; %" PRId64
               " new tokens: %.2f s, %.1f tokens/s; %.1f MiB of memory at "
               "most\n",
               prompt.tokens(), prompt_seconds,
               static_cast<double>(prompt.tokens()) / prompt_seconds, count,
               seconds, static_cast<double>(count) / seconds,
               static_cast<double>(peak_rss_bytes()) / (1 << 20));
  return 0;
}

}  // namespace timepipe
