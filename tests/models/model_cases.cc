#include "tests/models/model_cases.h"

#include "kernels/cross_entropy.h"

namespace timepipe::testing {

std::string label_of(const ModelOptions& o) {
  return std::string(o.inner == InnerModel::kLinear ? "Linear" : "Mlp") +
         (o.use_gate ? "Gate" : "") + (o.share_qk ? "ShareQk" : "") +
         (o.pre_conv ? "PreConv" : "");
}

std::ostream& operator<<(std::ostream& out, const ModelOptions& o) {
  return out << label_of(o);
}

std::vector<ModelOptions> all_model_options() {
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

ModelConfig small_model(const ModelOptions& options) {
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

void randomise(Context& ctx, uint64_t seed, ParameterStore& weights) {
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

Sequence pack(Generator& rng, std::vector<Document> documents, int64_t tokens,
              double loss_scale) {
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

Sequence packed_documents(Generator& rng) {
  return pack(rng,
              {{0, 10, true},
               {12, 2, true},
               {16, 9, false},
               {28, 1, true},
               {36, 6, false}},
              43);
}

Batch packed_batch(uint64_t seed) {
  Generator rng(seed);
  Batch batch = {packed_documents(rng)};
  batch.push_back(pack(rng, {{0, 13, true}}, 13));
  return batch;
}

Sequence alone(const Sequence& sequence, std::size_t d) {
  const Document& document = sequence.documents.at(d);
  const auto first = document.first, end = first + document.tokens;
  return {.ids = {sequence.ids.begin() + first, sequence.ids.begin() + end},
          .targets = {sequence.targets.begin() + first,
                      sequence.targets.begin() + end},
          .documents = {{0, document.tokens, true}},
          .loss_scale = sequence.loss_scale};
}

}  // namespace timepipe::testing
