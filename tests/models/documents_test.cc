#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tests/models/model_runs.h"

// What documents in one sequence share: nothing, or the hidden state alone.

namespace timepipe {
namespace {

using testing::close_l2;
using testing::in_chunks;
using testing::ModelOptions;
using testing::ModelResult;
using testing::ModelRun;
using testing::Observations;

class DocumentsTest : public ::testing::TestWithParam<ModelOptions> {
 protected:
  static ModelConfig config() { return testing::small_model(GetParam()); }

  // Sums over all tokens of products of two features, through every layer.
  static double tolerance() {
    return testing::rounding(DType::kF64, 56 * config().hidden_size) *
           static_cast<double>(config().num_layers);
  }

  // The rows of one document among a value's rows of the whole sequence.
  static std::vector<double> rows_of(const Document& document,
                                     const std::vector<double>& values) {
    const int64_t C = config().hidden_size;
    return {values.begin() + document.first * C,
            values.begin() + (document.first + document.tokens) * C};
  }

  static std::vector<std::string> hidden_names() {
    return {"hidden.0", "hidden.1", "hidden.final"};
  }
};

TEST_P(DocumentsTest, PackedGiveTheSameAsSequencesOfTheirOwn) {
  testing::Generator rng(13);
  const Sequence packed = testing::pack(
      rng, {{0, 10, true}, {12, 2, true}, {16, 8, true}, {36, 6, true}}, 43);
  Batch separate;
  for (std::size_t d = 0; d < packed.documents.size(); ++d) {
    separate.push_back(testing::alone(packed, d));
  }
  Observations seen_packed, seen_separate;
  const ModelResult expected =
      run_model({.config = config(), .batch = separate, .train = in_chunks(8)},
                &seen_separate);
  const ModelResult result =
      run_model({.config = config(), .batch = {packed}, .train = in_chunks(8)},
                &seen_packed);
  expect_close(config(), result, expected, tolerance());
  for (const char* name :
       {"hidden.0", "hidden.1", "hidden.final", "dhidden.0", "dhidden.1"}) {
    std::vector<double> rows;
    for (const Document& document : packed.documents) {
      std::ranges::copy(rows_of(document, seen_packed.values(name)),
                        std::back_inserter(rows));
    }
    EXPECT_TRUE(close_l2(rows, seen_separate.values(name), tolerance()))
        << name;
  }
}

// The learned start of every layer replaced by a state.
void set_start(Context& ctx, const ModelConfig& config,
               const Observations& states, ParameterStore& weights) {
  for (int64_t l = 0; l < config.num_layers; ++l) {
    const std::vector<double> state =
        states.values("state." + std::to_string(l));
    auto from = state.begin();
    for (const char* name : {"W1", "b1", "W2", "b2"}) {
      if (name[1] == '2' && config.inner == InnerModel::kLinear) continue;
      const Tensor to = weights.value("model.layers." + std::to_string(l) +
                                      ".seq_modeling_block." + name);
      upload(ctx, std::span<const double>(from, to.numel()), to);
      from += to.numel();
    }
    EXPECT_EQ(from, state.end());
  }
}

// Convolutions and positions start afresh; the state goes on from a document
// whose last mini-batch is partial, over mini-batches of padding.
TEST_P(DocumentsTest, CarryingOnIsStartingFromTheStateLeftBehind) {
  testing::Generator rng(14);
  const Sequence both =
      testing::pack(rng, {{0, 10, true}, {20, 11, false}}, 31);
  for (const int64_t chunk_tokens : {4, 8, 20, 32}) {
    SCOPED_TRACE(chunk_tokens);
    ModelRun run{
        .config = config(), .batch = {both}, .train = in_chunks(chunk_tokens)};
    Observations seen_both, seen_first, seen_second;
    const double loss = run_model(run, &seen_both).loss;
    run.batch = {testing::alone(both, 0)};
    const double first_loss = run_model(run, &seen_first).loss;
    run.batch = {testing::alone(both, 1)};
    run.weights = [&](Context& ctx, ParameterStore& weights) {
      testing::randomise(ctx, 3, weights);
      set_start(ctx, run.config, seen_first, weights);
    };
    const double second_loss = run_model(run, &seen_second).loss;

    EXPECT_NEAR(loss, first_loss + second_loss, tolerance() * loss);
    for (const std::string& name : hidden_names()) {
      EXPECT_TRUE(close_l2(rows_of(both.documents[1], seen_both.values(name)),
                           seen_second.values(name), tolerance()))
          << name;
    }
    for (const char* name : {"state.0", "state.1"}) {
      EXPECT_TRUE(close_l2(seen_both.values(name), seen_second.values(name),
                           tolerance()))
          << name;
    }
  }
}

TEST_P(DocumentsTest, ResettingForgetsAndCarryingOnRemembers) {
  testing::Generator rng(15);
  Sequence sequence = testing::pack(rng, {{0, 10, true}, {12, 9, false}}, 21);
  for (const bool resets : {false, true}) {
    sequence.documents[1].resets = resets;
    const Document document = sequence.documents[1];
    Observations before, after;
    ModelRun run{
        .config = config(), .batch = {sequence}, .train = in_chunks(8)};
    run_model(run, &before);
    run.batch[0].ids[3] = (run.batch[0].ids[3] + 1) % 11;
    run_model(run, &after);
    for (const std::string& name : hidden_names()) {
      const bool same = rows_of(document, before.values(name)) ==
                        rows_of(document, after.values(name));
      EXPECT_EQ(same, resets) << name;
    }
  }
}

TEST_P(DocumentsTest, WhatStandsInPaddingDoesNotMatter) {
  ModelRun run{.config = config(),
               .batch = testing::packed_batch(16),
               .train = in_chunks(8)};
  const ModelResult expected = run_model(run);
  Sequence& sequence = run.batch[0];
  std::vector<bool> padding(sequence.ids.size(), true);
  for (const Document& document : sequence.documents) {
    std::fill_n(padding.begin() + document.first, document.tokens, false);
  }
  for (std::size_t t = 0; t < padding.size(); ++t) {
    if (padding[t]) sequence.ids[t] = (sequence.ids[t] + 5) % 11;
  }
  EXPECT_TRUE(same_bits(run_model(run), expected));
}

INSTANTIATE_TEST_SUITE_P(AllOptions, DocumentsTest,
                         ::testing::ValuesIn(testing::all_model_options()),
                         testing::OptionsName());

}  // namespace
}  // namespace timepipe
