// timepipe score: logits and losses of given tokens.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cinttypes>
#include <cmath>
#include <cstdio>
#include <memory>
#include <vector>

#include "kernels/cross_entropy.h"
#include "launcher/checkpoint/open_model.h"
#include "launcher/commands/commands.h"
#include "launcher/commands/shared_options.h"
#include "launcher/data/token_rows.h"
#include "launcher/process/read_progress.h"
#include "launcher/process/result_file.h"
#include "models/decoder.h"
#include "runtime/files.h"
#include "runtime/number_text.h"
#include "runtime/safetensors.h"
#include "runtime/transfer.h"

namespace timepipe {
namespace {

struct ScoreOptions {
  std::string checkpoint, tokens, tensor = "", logits;
  ComputeTypeOption compute;
  DeviceOption device;
  TokenTypeOption token_type;
};

// Of the rows of a call: losses[t] of token t + 1; 0 for the last.
void add_losses(Context& ctx, std::span<const int64_t> ids, int64_t row,
                const Tensor& logits, std::vector<double>& losses) {
  const int64_t rows = logits.dim(0);
  HostArray targets({rows}, DType::kI64);
  for (int64_t r = 0; r < rows; ++r) {
    const auto next = static_cast<std::size_t>(row + r + 1);
    targets.values<int64_t>()[r] =
        next < ids.size() ? ids[next] : kIgnoredTarget;
  }
  Tensor values = ctx.allocate({rows}, DType::kF64);
  token_losses(ctx, logits, upload(ctx, targets), values);
  losses.resize(losses.size() + static_cast<std::size_t>(rows));
  download(ctx, values, std::span(losses).last(static_cast<std::size_t>(rows)));
}

// The size alone, for a header.
ConstBytes sized(int64_t bytes) {
  return {static_cast<const std::byte*>(nullptr),
          static_cast<std::size_t>(bytes)};
}

std::string header_of(const TokenRows& rows, int64_t vocab, DType dtype) {
  Shape logits = rows.shape, loss = rows.shape;
  logits.push_back(vocab);
  loss.back() -= 1;
  const auto tokens = static_cast<int64_t>(rows.ids.size());
  const SafetensorsItem items[] = {
      {"logits", dtype == DType::kF64 ? "F64" : "F32", logits,
       sized(tokens * vocab * size_of(dtype))},
      {"loss", "F64", loss, sized((tokens - rows.rows()) * 8)}};
  return safetensors_header(items);
}

int score(const ScoreOptions& options) {
  require_replaceable(
      "--logits", options.logits,
      {{"--tokens", options.tokens}, {"CHECKPOINT", options.checkpoint}});
  Context ctx(options.device.device());
  const OpenModel opened =
      open_model(ctx, options.checkpoint, options.compute.type());
  const int64_t vocab = opened.config.model.vocab_size;
  const TokenRows rows = read_token_rows(
      options.tokens, options.tensor, vocab,
      options.token_type.type_or(opened.config.data.token_type));
  const DType dtype = opened.model->weights().precision().state;

  NewFile file(options.logits);
  const std::string header = header_of(rows, vocab, dtype);
  file.append(std::as_bytes(std::span(header)));
  Decoder decoder(ctx, *opened.model,
                  decoder_chunk_tokens(opened.config.model));
  ReadProgress progress("score", static_cast<int64_t>(rows.ids.size()));
  std::vector<double> all;
  for (int64_t b = 0; b < rows.rows(); ++b) {
    const std::span<const int64_t> ids = rows.row(b);
    decoder.restart();
    decoder.read(ids, [&](int64_t row, const Tensor& logits) {
      file.append(download(ctx, logits).bytes());
      add_losses(ctx, ids, row, logits, all);
      progress.add(logits.dim(0));
    });
    all.pop_back();  // the last token has no next one
  }
  file.append(std::as_bytes(std::span(all)));
  file.commit();

  double sum = 0;
  for (const double loss : all) sum += loss;
  std::printf("%" PRId64 " row(s) of %" PRId64 " token(s): logits %s, in %s",
              rows.rows(), rows.tokens(), name_of(dtype),
              options.logits.c_str());
  if (!all.empty()) {
    const double loss = sum / static_cast<double>(all.size());
    std::printf("; loss %s, perplexity %s", significant(loss, 7).c_str(),
                significant(std::exp(loss), 7).c_str());
  }
  std::printf("\n");
  return 0;
}

}  // namespace

void add_score(CLI::App& app, int& status) {
  CLI::App& command =
      *app.add_subcommand("score", "Logits and losses of given token ids");
  const auto o = std::make_shared<ScoreOptions>();
  command.add_option("CHECKPOINT", o->checkpoint, kCheckpointHelp)->required();
  command
      .add_option("--tokens", o->tokens,
                  "Ids [T] or [B,T]: .npy or .safetensors; or a file of tokens")
      ->required();
  command.add_option(
      "--tensor", o->tensor,
      "Tensor of a .safetensors file. Default: tokens, as `timepipe data "
      "prepare` writes, or else input_ids");
  o->token_type.add_to(command, kTokenTypeOfModel);
  command
      .add_option("--logits", o->logits,
                  "File to write: logits [T,vocab] or [B,T,vocab], f64 if "
                  "that computes, else f32; loss [T-1] or [B,T-1], f64, of "
                  "tokens 1 to T-1")
      ->required();
  o->compute.add_to(command);
  o->device.add_to(command);
  command.footer(
      "Example:\n"
      "  timepipe score runs/bible --tokens book.txt --logits out.safetensors");
  command.callback([=, &status] { status = score(*o); });
}

}  // namespace timepipe
