#pragma once

// Small models with every combination of options, and sequences of packed
// documents, for the tests of models.

#include <cstdint>
#include <ostream>
#include <string>
#include <tuple>
#include <vector>

#include "models/batch.h"
#include "models/model_config.h"
#include "runtime/parameter.h"
#include "tests/support/tensors.h"

namespace timepipe::testing {

struct ModelOptions {
  InnerModel inner;
  bool use_gate, share_qk, pre_conv;
};

std::string label_of(const ModelOptions& o);

std::ostream& operator<<(std::ostream& out, const ModelOptions& o);

std::vector<ModelOptions> all_model_options();

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

ModelConfig small_model(const ModelOptions& options);

// Unlike models/build.h's start, no parameter is zero or one, and all matter.
void randomise(Context& ctx, uint64_t seed, ParameterStore& weights);

// Random ids everywhere, random labels in the documents.
Sequence pack(Generator& rng, std::vector<Document> documents, int64_t tokens,
              double loss_scale = 0.05);

// Documents for mini-batches of 4: of 2 tokens and of 1, that start inside
// chunks and at their borders whatever the length, that carry on from the one
// before (two of them; one over a mini-batch of nothing but padding), with
// partial mini-batches and padding inside and at the end.
Sequence packed_documents(Generator& rng);

// The same, and one document of less than two chunks of 8 tokens.
Batch packed_batch(uint64_t seed);

// Document `d` of a sequence as a sequence of its own.
Sequence alone(const Sequence& sequence, std::size_t d);

}  // namespace timepipe::testing
