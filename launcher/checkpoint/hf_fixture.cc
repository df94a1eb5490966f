// Writes the fixture of an exported model, and checks a model against one.

#include "launcher/checkpoint/hf_fixture.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <vector>

#include "launcher/checkpoint/open_model.h"
#include "models/decoder.h"
#include "runtime/error.h"
#include "runtime/finite.h"
#include "runtime/rng.h"
#include "runtime/safetensors.h"
#include "runtime/transfer.h"

namespace timepipe {
namespace {

constexpr int64_t kMostTokens = 69;
constexpr const char* kIds = "input_ids";
constexpr const char* kLogits = "logits";
constexpr const char* kError = "f32_max_abs_error";

struct Difference {
  double max_abs = 0;
  int64_t element = 0;
};

// The largest difference and where it is; NaN counts as larger than any number.
Difference largest_difference(const HostArray& logits,
                              const HostArray& expected) {
  const HostArray wide = converted(logits, DType::kF64);
  const auto a = wide.values<double>(), b = expected.values<double>();
  Difference d;
  for (std::size_t i = 0; i < b.size(); ++i) {
    const double difference = std::abs(a[i] - b[i]);
    if (difference <= d.max_abs) continue;
    d = {difference, static_cast<int64_t>(i)};
    if (std::isnan(difference)) break;
  }
  return d;
}

HostArray logits_of_folder(Context& ctx, const std::string& folder, DType dtype,
                           std::span<const int64_t> ids) {
  const OpenModel opened = open_model(ctx, folder, dtype);
  return logits_of(ctx, *opened.model, ids);
}

}  // namespace

HostArray logits_of(Context& ctx, LanguageModel& model,
                    std::span<const int64_t> ids) {
  const int64_t vocab = model.config().vocab_size;
  HostArray all({std::ssize(ids), vocab}, model.weights().dtype());
  Decoder decoder(ctx, model, decoder_chunk_tokens(model.config()));
  decoder.read(ids, [&](int64_t row, const Tensor& logits) {
    std::ranges::copy(download(ctx, logits).bytes(),
                      all.bytes().begin() + row * vocab * size_of(all.dtype()));
  });
  return all;
}

std::vector<int64_t> fixture_ids(const ModelConfig& config) {
  const Rng rng(0, "fixture");
  std::vector<int64_t> ids(static_cast<std::size_t>(
      std::min(2 * config.mini_batch_size + 5, kMostTokens)));
  for (std::size_t i = 0; i < ids.size(); ++i) {
    ids[i] = static_cast<int64_t>(rng.bits(i) %
                                  static_cast<uint64_t>(config.vocab_size));
  }
  return ids;
}

void write_fixture(const std::string& hf_folder) {
  Context ctx;
  const OpenModel opened = open_model(ctx, hf_folder, DType::kF64);
  const ModelConfig& config = opened.config.model;
  const std::vector<int64_t> ids = fixture_ids(config);
  const auto T = static_cast<int64_t>(ids.size());
  const HostArray logits = logits_of(ctx, *opened.model, ids);
  const double error =
      largest_difference(logits_of_folder(ctx, hf_folder, DType::kF32, ids),
                         logits)
          .max_abs;
  const SafetensorsItem items[] = {
      {kIds, "I64", {1, T}, std::as_bytes(std::span(ids))},
      {kLogits, "F64", {1, T, config.vocab_size}, logits.bytes()},
      {kError, "F64", {1}, std::as_bytes(std::span(&error, 1))}};
  write_safetensors(hf_folder + "/" + kFixtureFile, items);
}

FixtureCheck check_fixture(const std::string& hf_folder) {
  const std::string path = hf_folder + "/" + kFixtureFile;
  if (!std::filesystem::exists(path)) {
    throw IoError(path +
                  ": no fixture: not made by timepipe checkpoint export");
  }
  const SafetensorsFile file = SafetensorsFile::read(path);
  const HostArray ids = file.get(kIds), logits = file.get(kLogits);
  Context ctx;
  const OpenModel opened = open_model(ctx, hf_folder, DType::kF32);
  const int64_t vocab = opened.config.model.vocab_size;
  require(ids.dtype() == DType::kI64 && ids.shape().size() == 2 &&
              ids.shape()[0] == 1 && ids.shape()[1] <= kMostTokens,
          path, ": ", kIds, ": expected i64 of shape [1,T], T at most ",
          kMostTokens);
  const int64_t T = ids.numel();
  require(logits.dtype() == DType::kF64 && logits.shape() == Shape{1, T, vocab},
          path, ": ", kLogits, ": shape ", logits.shape(), ", expected ",
          Shape{1, T, vocab}, " in f64");
  require_finite(path + ": " + kLogits, logits);
  const HostArray error = file.get(kError);
  require(error.dtype() == DType::kF64 && error.numel() == 1, path, ": ",
          kError, ": expected one f64");
  const Difference d = largest_difference(
      logits_of(ctx, *opened.model, ids.values<int64_t>()), logits);
  double top = 0;
  for (const double logit : logits.values<double>()) {
    top = std::max(top, std::abs(logit));
  }
  const double rounding =
      16 * double{std::numeric_limits<float>::epsilon()} * top;
  return {.max_abs = d.max_abs,
          .tolerance = std::max(10 * error.values<double>()[0], rounding),
          .token = d.element / vocab,
          .id = d.element % vocab};
}

}  // namespace timepipe
