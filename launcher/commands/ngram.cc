// timepipe data ngram: what n-gram models reach on a text.

#include <CLI/CLI.hpp>
#include <cinttypes>
#include <cstdio>
#include <memory>

#include "launcher/commands/commands.h"
#include "launcher/data/ngram_model.h"
#include "runtime/error.h"
#include "runtime/number_text.h"
#include "runtime/token_file.h"

namespace timepipe {
namespace {

struct NgramOptions {
  std::string file;
  double held_out = 0;
  int max_order = 4;
};

std::string name_of(int order) {
  if (order == 2) return "bigram";
  if (order == 3) return "trigram";
  return std::to_string(order) + "-gram";
}

// Prints what n-gram models of orders 2 to max_order that learn from a file of
// bytes reach on the share at its end, and their formula.
int ngram(const NgramOptions& options) {
  const auto& [path, held_out, max_order] = options;
  require(0 < held_out && held_out < 1,
          "--held-out: ", significant(held_out, 6),
          ", expected a share above 0 and below 1");
  require(2 <= max_order && max_order <= NgramModel::kMostOrder,
          "--max-order: ", max_order, ", expected 2 to ",
          NgramModel::kMostOrder);
  const TokenFile file(path);
  require(file.layout().type == StoredToken::kU8, "--train: ", path,
          ": expected a file whose tokens are bytes");
  const std::vector<std::byte> stored = file.stored();
  const std::span<const uint8_t> text(
      reinterpret_cast<const uint8_t*>(stored.data()), stored.size());
  const int64_t kept = held_out_tokens(file.num_tokens(), held_out);
  require(kept >= 2, "--held-out: ", significant(held_out, 6), " of ", path,
          ": ", kept, " bytes, expected at least 2");
  // A model that starts at the held-out part reads its first byte without
  // predicting it, so it isn't scored here either.
  const std::size_t trained = text.size() - kept, first = trained + 1;
  std::printf("%s: %zu bytes to learn from, %zu scored\n", path.c_str(),
              trained, text.size() - first);
  std::printf("%-10s %s\n", "model", "bits per byte");
  for (int order = 2; order <= max_order; ++order) {
    const NgramModel model(text.first(trained), order);
    std::printf("%-10s %s\n", name_of(order).c_str(),
                significant(model.bits_per_byte(text, first), 5).c_str());
    std::fflush(stdout);
  }
  std::printf(
      "Interpolated, modified Kneser-Ney smoothing (Chen & Goodman 1999):\n%s",
      NgramModel::formula());
  return 0;
}

}  // namespace

void add_ngram(CLI::App& data, int& status) {
  const auto o = std::make_shared<NgramOptions>();
  CLI::App& command = *data.add_subcommand(
      "ngram", "Bits per byte of n-gram models, as a baseline");
  command.add_option("--train", o->file, "Text to learn from, but for its end")
      ->required();
  command
      .add_option("--held-out", o->held_out,
                  "Share at its end to score, as data.held_out")
      ->required();
  command
      .add_option("--max-order", o->max_order, "Bytes of a gram at most, 2-8")
      ->capture_default_str();
  command.footer(
      "Example:\n  timepipe data ngram --train a.txt --held-out 0.02");
  command.callback([=, &status] { status = ngram(*o); });
}

}  // namespace timepipe
