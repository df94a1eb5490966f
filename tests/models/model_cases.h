#pragma once

// Small models with every combination of options, and sequences of packed
// documents, for the tests of models.

#include <cmath>
#include <cstdint>
#include <ostream>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/cross_entropy.h"
#include "models/batch.h"
#include "models/model_config.h"
#include "runtime/parameter.h"
#include "tests/support/tensors.h"

namespace timepipe::testing {

struct ModelOptions {
  InnerModel inner;
  bool use_gate, share_qk, pre_conv;
};

inline std::string label_of(const ModelOptions& o) {
  return std::string(o.inner == InnerModel::kLinear ? "Linear" : "Mlp") +
         (o.use_gate ? "Gate" : "") + (o.share_qk ? "ShareQk" : "") +
         (o.pre_conv ? "PreConv" : "");
}

inline std::ostream& operator<<(std::ostream& out, const ModelOptions& o) {
  return out << label_of(o);
}

inline std::vector<ModelOptions> all_model_options() {
  std::vector<ModelOptions> all;
  for (const InnerModel inner : {InnerModel::kLinear, InnerModel::kMlp}) {
    for (const bool use_gate : {false, true}) {
      for (const bool share_qk : {false, true}) {
        for (const bool pre_conv : {false, true}) {
          all.push_back({inner, use_gate, share_qk, pre_conv});
        }
      }
    }
  }
  return all;
}

// Names of parameterised tests: options alone, or with tied embeddings or not.
struct OptionsName {
  template <class Info>
  std::string operator()(const Info& info) const {
    return name_of(info.param);
  }

 private:
  static std::string name_of(const ModelOptions& o) { return label_of(o); }
  static std::string name_of(const std::tuple<ModelOptions, bool>& p) {
    return label_of(std::get<0>(p)) + (std::get<1>(p) ? "Tied" : "Untied");
  }
};

// Of finite differences. Norms over few features bend quickly: smaller than
// what single kernels need.
inline constexpr double kStep = 2e-5;

inline ModelConfig small_model(const ModelOptions& options) {
  ModelConfig config;
  config.vocab_size = 11;
  config.hidden_size = 8;
  config.intermediate_size = 6;
  config.num_layers = 2;
  config.num_heads = 2;
  config.mini_batch_size = 4;
  config.conv_kernel = 3;
  config.inner = options.inner;
  config.use_gate = options.use_gate;
  config.share_qk = options.share_qk;
  config.pre_conv = options.pre_conv;
  return config;
}

// Unlike models/build.h's start, no parameter is zero or one, and all matter.
inline void randomise(Context& ctx, uint64_t seed, ParameterStore& weights) {
  Generator rng(seed);
  for (const Parameter& p : weights.layout().parameters()) {
    const auto ends_with = [&](const char* end) {
      return p.name.ends_with(end);
    };
    double mean = 0, stddev = 0.3;
    if (ends_with("norm.weight") || ends_with("norm_weight")) mean = 1;
    if (ends_with("token_idx")) stddev = 0.05;
    if (ends_with("embed_tokens.weight")) stddev = 0.6;
    upload(ctx,
           generate(p.shape, weights.dtype(),
                    [&](int64_t) { return mean + stddev * normal(rng); }),
           weights.value(p.name));
  }
}

// Random ids everywhere, random labels in the documents.
inline Sequence pack(Generator& rng, std::vector<Document> documents,
                     int64_t tokens, double loss_scale = 0.05) {
  constexpr uint64_t kVocab = 11;
  const auto id = [&] { return static_cast<int64_t>(rng() % kVocab); };
  Sequence sequence;
  for (int64_t t = 0; t < tokens; ++t) sequence.ids.push_back(id());
  sequence.targets.assign(static_cast<std::size_t>(tokens), kIgnoredTarget);
  for (const Document& document : documents) {
    for (int64_t t = 0; t < document.tokens; ++t) {
      sequence.targets.at(document.first + t) = id();
    }
  }
  sequence.documents = std::move(documents);
  sequence.loss_scale = loss_scale;
  return sequence;
}

// Documents for mini-batches of 4: of 2 tokens and of 1, that start inside
// chunks and at their borders whatever the length, that carry on from the one
// before (two of them; one over a mini-batch of nothing but padding), with
// partial mini-batches and padding inside and at the end.
inline Sequence packed_documents(Generator& rng) {
  return pack(rng,
              {{0, 10, true},
               {12, 2, true},
               {16, 9, false},
               {28, 1, true},
               {36, 6, false}},
              43);
}

// The same, and one document of less than two chunks of 8 tokens.
inline Batch packed_batch(uint64_t seed) {
  Generator rng(seed);
  Batch batch = {packed_documents(rng)};
  batch.push_back(pack(rng, {{0, 13, true}}, 13));
  return batch;
}

// Document `d` of a sequence as a sequence of its own.
inline Sequence alone(const Sequence& sequence, std::size_t d) {
  const Document& document = sequence.documents.at(d);
  const auto first = document.first, end = first + document.tokens;
  return {.ids = {sequence.ids.begin() + first, sequence.ids.begin() + end},
          .targets = {sequence.targets.begin() + first,
                      sequence.targets.begin() + end},
          .documents = {{0, document.tokens, true}},
          .loss_scale = sequence.loss_scale};
}

}  // namespace timepipe::testing
