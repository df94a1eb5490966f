#include "models/decoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "tests/models/model_runs.h"
#include "tests/support/temporary_file.h"
#include "tests/support/test_device.h"
#include "tests/support/throws.h"

// Reading token by token, in pieces and at once is the model's own forward
// pass; what is remembered between two tokens doesn't grow.

namespace timepipe {
namespace {

using ::testing::HasSubstr;
using testing::ModelOptions;
using testing::TestContext;
using testing::throws;

constexpr int64_t kTokens = 27;  // mini-batches of 4

std::vector<int64_t> some_ids() {
  testing::Generator rng(11);
  return testing::pack(rng, {{0, kTokens, true}}, kTokens).ids;
}

struct Reader {
  TestContext ctx;
  LanguageModel model;
  Decoder decoder;

  explicit Reader(const ModelOptions& options, int64_t chunk_tokens = 8)
      : model(ctx, testing::small_model(options), DType::kF64),
        decoder(ctx, random(ctx, model), chunk_tokens) {}

  // The learned start is a weight: the decoder is made of those that count.
  static LanguageModel& random(Context& ctx, LanguageModel& model) {
    testing::randomise(ctx, 3, model.weights());
    return model;
  }

  // Logits of all tokens of a call. last: of a document.
  std::vector<double> read(std::span<const int64_t> ids, bool last = false) {
    std::vector<double> all;
    int64_t next = 0;
    const auto sink = [&](int64_t row, const Tensor& logits) {
      EXPECT_EQ(row, next);
      next += logits.dim(0);
      const std::vector<double> values = testing::to_f64(ctx, logits);
      all.insert(all.end(), values.begin(), values.end());
    };
    last ? decoder.read_last(ids, sink) : decoder.read(ids, sink);
    EXPECT_EQ(next, std::ssize(ids));
    return all;
  }
};

double tolerance(const ModelConfig& config) {
  return testing::rounding(DType::kF64, kTokens * config.hidden_size) *
         static_cast<double>(config.num_layers);
}

std::vector<double> values_of(Context& ctx, const HiddenState& state) {
  std::vector<double> all;
  for (const HiddenState::Layer& layer : state.layers) {
    for (const Tensor* t :
         {&layer.state, &layer.gradient_sum, &layer.halo_x, &layer.halo_qk}) {
      const std::vector<double> values = testing::to_f64(ctx, *t);
      all.insert(all.end(), values.begin(), values.end());
    }
  }
  return all;
}

class DecoderTest : public ::testing::TestWithParam<ModelOptions> {};

TEST_P(DecoderTest, LogitsAreThoseOfTheForwardPassHoweverTokensAreSplit) {
  const std::vector<int64_t> ids = some_ids();
  const testing::Threads one_thread(1);
  Reader reader(GetParam());
  testing::Observations observations;
  testing::Generator rng(11);
  testing::run_model(
      {.config = reader.model.config(),
       .batch = {testing::pack(rng, {{0, kTokens, true}}, kTokens)},
       .train = testing::in_chunks(12)},
      &observations);
  const std::vector<double> expected = observations.values("logits");

  std::vector<double> whole_state;
  for (const std::vector<int64_t>& pieces : {std::vector<int64_t>{27},
                                             {1, 1, 1, 1, 1, 1, 21},
                                             {3, 9, 8, 7},
                                             {0, 4, 0, 16, 7},
                                             {26, 1}}) {
    reader.decoder.restart();
    std::vector<double> logits;
    auto from = ids.begin();
    for (const int64_t n : pieces) {
      const std::vector<double> more = reader.read({from, from + n});
      logits.insert(logits.end(), more.begin(), more.end());
      from += n;
    }
    ASSERT_EQ(from, ids.end());
    const double limit = tolerance(reader.model.config());
    EXPECT_TRUE(testing::close_l2(logits, expected, limit));
    const std::vector<double> state =
        values_of(reader.ctx, reader.decoder.state());
    if (whole_state.empty()) whole_state = state;
    EXPECT_TRUE(testing::close_l2(state, whole_state, limit));
    EXPECT_EQ(reader.decoder.state().tokens_read, kTokens);
  }
}

TEST_P(DecoderTest, GoesOnFromASavedState) {
  const std::vector<int64_t> ids = some_ids();
  const std::span<const int64_t> all(ids);
  const testing::Threads one_thread(1);
  Reader reader(GetParam());
  for (const int64_t saved_at : {1, 8, 14}) {
    reader.decoder.restart();
    reader.read(all.first(saved_at));
    const testing::TemporaryFile file("");
    save_hidden_state(reader.ctx, file.path(), reader.decoder.state(),
                      reader.model.config());
    const std::vector<double> expected = reader.read(all.subspan(saved_at));

    Reader other(GetParam());
    const HiddenState saved =
        load_hidden_state(other.ctx, file.path(), other.model, "F");
    for (int i = 0; i < 2; ++i) {  // reading on doesn't change it
      other.decoder.restart(saved);
      EXPECT_EQ(other.read(all.subspan(saved_at)), expected);
    }
  }
}

// Each in two calls, the second of which has its last mini-batch.
TEST_P(DecoderTest, DocumentsGoOnFromTheStateOfThoseBefore) {
  testing::Generator rng(11);
  const Sequence packed = testing::pack(rng,
                                        {{0, 13, true},
                                         {16, 2, false},
                                         {20, 9, false},
                                         {32, 1, false},
                                         {40, 8, false},
                                         {48, 6, false}},
                                        54);
  const testing::Threads one_thread(1);
  Reader reader(GetParam());
  testing::Observations observations;
  testing::run_model({.config = reader.model.config(),
                      .batch = {packed},
                      .train = testing::in_chunks(12),
                      .trains = false},
                     &observations);
  const std::vector<double> all = observations.values("logits");
  const int64_t vocab = reader.model.config().vocab_size;
  const std::span<const int64_t> ids(packed.ids);
  for (const Document& document : packed.documents) {
    const int64_t first = document.first, end = first + document.tokens;
    const int64_t before = document.tokens > 4 ? 4 : 0;
    std::vector<double> logits = reader.read(ids.subspan(first, before));
    const std::vector<double> rest = reader.read(
        ids.subspan(first + before, document.tokens - before), true);
    logits.insert(logits.end(), rest.begin(), rest.end());
    EXPECT_TRUE(testing::close_l2(
        logits, {all.begin() + first * vocab, all.begin() + end * vocab},
        2 * tolerance(reader.model.config())));
    EXPECT_EQ(reader.decoder.state().tokens_read, 0);
  }
  reader.read(ids.first(5));
  EXPECT_THAT([&] { reader.read(ids.first(3), true); },
              throws<InvalidArgument>(
                  "last tokens of a document: after 5, expected a multiple of "
                  "the mini-batch, 4"));
}

INSTANTIATE_TEST_SUITE_P(AllOptions, DecoderTest,
                         ::testing::ValuesIn(testing::all_model_options()),
                         testing::OptionsName());

constexpr ModelOptions kMamba{InnerModel::kLinear, true, true, true};

TEST(Decoder, LastLogitsAreTheLastOfAll) {
  const std::vector<int64_t> ids = some_ids();
  Reader reader(kMamba);
  for (const std::size_t n : {1, 4, 27}) {
    reader.decoder.restart();
    const std::vector<double> all = reader.read(std::span(ids).first(n));
    reader.decoder.restart();
    EXPECT_EQ(testing::to_f64(reader.ctx,
                              reader.decoder.read(std::span(ids).first(n))),
              std::vector<double>(all.end() - 11, all.end()));
  }
}

TEST(Decoder, MemoryDoesNotGrowWithTheTokensRead) {
  const std::vector<int64_t> ids = some_ids();
  Reader reader(kMamba);
  const auto bytes = [&](auto of) {
    int64_t sum = 0;
    for (int use = 0; use < kMemoryUses; ++use) {
      sum += of(static_cast<MemoryUse>(use));
    }
    return sum;
  };
  const MemoryPool& pool = reader.ctx.pool();
  const auto now = [&](MemoryUse use) { return pool.current_bytes(use); };
  const auto peak = [&](MemoryUse use) { return pool.peak_bytes(use); };
  reader.decoder.read(ids);
  const int64_t now_before = bytes(now), peak_before = bytes(peak);
  for (int i = 0; i < 100; ++i) reader.decoder.read(ids);
  EXPECT_EQ(bytes(now), now_before);
  EXPECT_EQ(bytes(peak), peak_before);
}

TEST(Decoder, NamesTokensOutsideTheVocabularyBeforeItReads) {
  Reader reader(kMamba);
  for (const int64_t wrong : {-1, 11}) {
    const std::vector<int64_t> ids{3, 4, wrong, 5};
    EXPECT_THAT([&] { reader.read(ids); },
                throws<InvalidArgument>("token 2: id " + std::to_string(wrong) +
                                        ", expected one in [0, 11)"));
    EXPECT_THAT([&] { reader.decoder.read(ids); },
                throws<InvalidArgument>(HasSubstr("token 2")));
  }
  EXPECT_EQ(reader.decoder.state().tokens_read, 0);
  EXPECT_THAT([&] { reader.decoder.read(std::span<const int64_t>()); },
              throws<InvalidArgument>(HasSubstr("at least one")));
}

TEST(Decoder, NamesLogitsAndStatesThatAreNotFinite) {
  Reader reader(kMamba);
  const std::vector<int64_t> ids = some_ids();
  const testing::TemporaryFile file("");
  reader.read(std::span(ids).first(5));
  HiddenState state = copy(reader.ctx, reader.decoder.state());
  testing::fill(reader.ctx, std::numeric_limits<double>::infinity(),
                state.layers[1].state.slice(2, 3));
  save_hidden_state(reader.ctx, file.path(), state, reader.model.config());
  EXPECT_THAT(
      [&] { load_hidden_state(reader.ctx, file.path(), reader.model, "F"); },
      throws<InvalidArgument>(HasSubstr("F: tensor layers.1.state: 1 of ")));
  testing::fill(reader.ctx, std::numeric_limits<double>::quiet_NaN(),
                reader.model.final_norm().slice(0, 1));
  EXPECT_THAT([&] { reader.read(std::span(ids).subspan(5, 3)); },
              throws<InvalidArgument>(HasSubstr("logits from token 5 on: ")));
}

TEST(Decoder, RefusesChunksThatAreNoMiniBatches) {
  EXPECT_THAT([] { Reader(kMamba, 6); },
              throws<InvalidArgument>(HasSubstr("chunk_tokens: 6")));
}

// The error of loading a state of a model of these options.
void expect_refused(const std::string& path, const ModelOptions& options,
                    const std::string& error) {
  Reader reader(options);
  EXPECT_THAT([&] { load_hidden_state(reader.ctx, path, reader.model, "F"); },
              throws<InvalidArgument>("F: " + error));
}

TEST(HiddenStateFile, OfAnotherModelIsRefusedByItsFirstDifference) {
  Reader reader(kMamba);
  const testing::TemporaryFile file("");
  save_hidden_state(reader.ctx, file.path(), reader.decoder.state(),
                    reader.model.config());
  expect_refused(file.path(), {InnerModel::kMlp, true, true, true},
                 "layer: linear, expected mlp");
  expect_refused(file.path(), {InnerModel::kLinear, true, false, true},
                 "share_qk: true, expected false");
}

TEST(HiddenStateFile, FilesOfOtherKindsAreNamed) {
  const std::string begin = "not a hidden-state file: ",
                    end =
                        ", expected timepipe.hidden_state.1, as timepipe "
                        "generate --state-out writes it";
  expect_refused(testing::TemporaryFile("a text").path(), kMamba,
                 begin + "a text" + end);
  const testing::TemporaryFile tokens("");
  const std::vector<uint8_t> ids = {1, 2, 3};
  const std::vector<SafetensorsItem> items = {
      {"tokens", "U8", {3}, std::as_bytes(std::span(ids))}};
  write_safetensors(tokens.path(), items, {{"tokenizer", "bytes"}});
  expect_refused(tokens.path(), kMamba,
                 begin + "no format in its metadata" + end);
}

TEST(HiddenStateFile, IsCheckedBeforeItIsUsed) {
  Reader reader(kMamba);
  const HiddenState& state = reader.decoder.state();
  const ModelConfig& config = reader.model.config();
  const testing::TemporaryFile file("");
  save_hidden_state(reader.ctx, file.path(), state, config);
  const SafetensorsHeader good = SafetensorsFile::read(file.path()).header();
  EXPECT_EQ(check_hidden_state(good, "F", state, config), 0);
  const auto expect_error = [&](auto&& change, const std::string& error) {
    SafetensorsHeader bad = good;
    change(bad);
    EXPECT_THAT([&] { check_hidden_state(bad, "F", state, config); },
                throws<InvalidArgument>(HasSubstr(error)));
  };
  for (const char* tokens :
       {"", "-1", "1x", "9223372036854775807", "99999999999999999999"}) {
    expect_error([&](auto& h) { h.metadata["tokens_read"] = tokens; },
                 "F: tokens_read: \"" + std::string(tokens) + "\", expected");
  }
  expect_error(
      [](auto& h) { h.metadata.erase("format"); },
      "F: not a hidden-state file: no format in its metadata, expected "
      "timepipe.hidden_state.1");
  expect_error([](auto& h) { h.metadata["format"] = "another"; },
               "F: not a hidden-state file: format another, expected");
  expect_error([](auto& h) { h.entries.pop_back(); }, ": not there, expected");
  expect_error([](auto& h) { h.entries.front().dtype = "BF16"; },
               "expected F32 or F64");
  expect_error([](auto& h) { h.entries.front().shape.push_back(1); },
               "expected F32 or F64");
  expect_error(
      [](auto& h) {
        h.entries.push_back(h.entries.front());
        h.entries.back().name = "more";
      },
      "F: tensor more: not of a hidden state");
}

}  // namespace
}  // namespace timepipe
