#include "launcher/run/banner.h"

#include <array>
#include <cinttypes>
#include <cstdio>
#include <string>

#include "models/language_model.h"
#include "models/model_size.h"

namespace timepipe {
namespace {

template <class... Args>
std::string line(const char* format, Args... args) {
  std::array<char, 512> text = {};
  std::snprintf(text.data(), text.size(), format, args...);
  return text.data();
}

ParameterCount parameters_of(const RunConfig& config) {
  Context counts(MemoryPool::Mode::kCount);
  const LanguageModel model(counts, config.model, config.train.dtype);
  return count_parameters(model.weights().layout());
}

}  // namespace

std::string banner(const RunConfig& config, const MemoryPlan& memory) {
  const ModelConfig& model = config.model;
  const ParameterCount count = parameters_of(config);
  const int64_t at_once = config.train.micro_batch;
  const double tokens = static_cast<double>(config.data.batch) *
                        static_cast<double>(config.data.sequence_length);
  return line("model: %" PRId64 " parameters (embeddings %" PRId64
              ", TTT layers %" PRId64 ", MLPs %" PRId64 ", norms %" PRId64
              ")\n",
              count.total(), count.embedding, count.layers, count.mlps,
              count.norms) +
         line("       TTT-%s, %" PRId64 " layers of width %" PRId64 ", %" PRId64
              " heads\n",
              model.inner == InnerModel::kLinear ? "Linear" : "MLP",
              model.num_layers, model.hidden_size, model.num_heads) +
         line("step:  %" PRId64 " sequence(s) of %" PRId64
              " tokens%s, %.2f GFLOP per step; %" PRId64 " chunk(s) of %" PRId64
              " tokens over %" PRId64 " time x %" PRId64 " data rank(s)\n",
              config.data.batch, config.data.sequence_length,
              at_once == 1
                  ? ""
                  : (", " + std::to_string(at_once) + " at once").c_str(),
              training_flops_per_token(model) * tokens * 1e-9,
              config.num_chunks(), config.train.chunk_tokens,
              config.parallel.time, config.parallel.data) +
         "memory: " + to_string(memory) + "\n";
}

}  // namespace timepipe
