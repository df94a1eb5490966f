#include <algorithm>

#include "kernels/rmsnorm.h"
#include "models/decoder.h"
#include "tests/golden_check/golden.h"

// Prefill, then token by token, from the hidden state alone; and the same
// tokens in one piece.

namespace timepipe::golden {
namespace {

struct Results {
  Values prefill, steps, whole, greedy;
  std::map<std::string, Values> caches;
};

Decoder::Sink append_to(Context& ctx, Values& all) {
  return [&ctx, &all](int64_t, const Tensor& logits) {
    const Values values = to_values(ctx, logits);
    all.insert(all.end(), values.begin(), values.end());
  };
}

// The golden caches hold rows that went into a convolution, channel by channel,
// and one more of them than the convolution looks back to.
Values channels_first(Context& ctx, const Tensor& rows) {
  const int64_t n = rows.dim(0), C = rows.dim(1);
  const Values x = to_values(ctx, rows);
  Values y(x.size());
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t c = 0; c < C; ++c) y[c * n + i] = x[i * C + c];
  }
  return y;
}

// `conv`, [B,C,k], without the oldest of the k rows.
Values without_oldest(const HostArray& conv) {
  const int64_t k = conv.shape().at(2);
  const Values x = to_values(conv);
  Values y;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (static_cast<int64_t>(i) % k > 0) y.push_back(x[i]);
  }
  return y;
}

Tensor normed(Context& ctx, const Tensor& x, const Tensor& weight, double eps) {
  Tensor n = ctx.allocate(x.shape(), x.dtype());
  Tensor rstd = ctx.allocate({x.dim(0)}, x.dtype());
  rmsnorm_forward(ctx, x, weight, eps, n, rstd);
  return n;
}

// What the state of one sequence adds to the caches named PREFIX.LAYER.*
void add_caches(Context& ctx, LanguageModel& model, const HiddenState& state,
                const std::string& prefix, std::map<std::string, Values>& all) {
  const ModelConfig& config = model.config();
  const auto add = [&](const std::string& name, const Values& values) {
    Values& to = all[name];
    to.insert(to.end(), values.begin(), values.end());
  };
  for (std::size_t l = 0; l < state.layers.size(); ++l) {
    const HiddenState::Layer& layer = state.layers[l];
    const std::string name = prefix + "." + std::to_string(l) + ".";
    const auto add_parts = [&](const Tensor& flat, const char* suffix) {
      for (const auto& [part, values] :
           split_state(config.ttt_shape(), to_values(ctx, flat), 1)) {
        add(name + part + suffix, values);
      }
    };
    add_parts(layer.state, "_states");
    add_parts(layer.gradient_sum, "_grad");
    const Shape rows{config.conv_kernel - 1, config.hidden_size};
    if (!layer.halo_qk.empty()) {
      const Values p = channels_first(ctx, layer.halo_qk.reshape(rows));
      add(name + "ttt_conv_q", p);
      add(name + "ttt_conv_k", p);
    }
    if (layer.halo_x.empty()) continue;
    const Tensor weight = model.weights().value(
        "model.layers." + std::to_string(l) + ".conv.norm.weight");
    add(name + "pre_conv",
        channels_first(ctx, normed(ctx, layer.halo_x.reshape(rows), weight,
                                   config.rms_norm_eps)));
  }
}

// The best next token of each row of logits.
Values best_tokens(const Values& logits, int64_t vocab) {
  Values best;
  for (auto row = logits.begin(); row != logits.end(); row += vocab) {
    best.push_back(
        static_cast<double>(std::max_element(row, row + vocab) - row));
  }
  return best;
}

void run(Context& ctx, LanguageModel& model, int64_t chunk_tokens,
         std::span<const int64_t> tokens, std::size_t prompt,
         Results& results) {
  Decoder decoder(ctx, model, chunk_tokens);
  Values prefill, steps;
  decoder.read(tokens.first(prompt), append_to(ctx, prefill));
  add_caches(ctx, model, decoder.state(), "cache_prefill", results.caches);
  for (std::size_t i = prompt; i < tokens.size(); ++i) {
    append_to(ctx, steps)(0, decoder.read(tokens.subspan(i, 1)));
  }
  add_caches(ctx, model, decoder.state(), "cache_end", results.caches);
  decoder.restart();
  decoder.read(tokens, append_to(ctx, results.whole));

  const int64_t vocab = model.config().vocab_size;
  Values predicting(prefill.end() - vocab, prefill.end());
  predicting.insert(predicting.end(), steps.begin(), steps.end());
  predicting.resize(predicting.size() - vocab);  // the last predicts nothing
  for (const double token : best_tokens(predicting, vocab)) {
    results.greedy.push_back(token);
  }
  results.prefill.insert(results.prefill.end(), prefill.begin(), prefill.end());
  results.steps.insert(results.steps.end(), steps.begin(), steps.end());
}

void compare(const Options& options, const Case& golden, const Results& results,
             int64_t prompt, Report& report) {
  const bool f64 = options.dtype == DType::kF64;
  const double reference = golden.note({"f32_vs_f64_step_logits_max_abs"}, 0);
  const Tolerance of_logits =
      f64 ? relative(1e-9) : absolute(std::max(2e-5, 10 * reference));
  const auto logits = [&](const char* name, const Values& values) {
    report.compare(name, values, golden.values(name), of_logits);
  };
  logits("prefill_logits", results.prefill);
  logits("step_logits", results.steps);
  logits("nocache_logits", results.whole);
  for (const auto& [name, values] : results.caches) {
    if (!golden.has(name)) continue;
    report.compare(name, values,
                   name.find("conv") == std::string::npos
                       ? golden.values(name)
                       : without_oldest(golden.array(name)),
                   value_tolerance(options.dtype, 1e-5, 0));
  }
  if (!f64) return report.remark("tokens: compared in f64 only");
  const HostArray tokens = golden.array("tokens");
  const Values rows = to_values(tokens);
  const int64_t L = tokens.shape().at(1);
  Values expected;  // those that were made, not the prompt
  for (auto row = rows.begin(); row != rows.end(); row += L) {
    expected.insert(expected.end(), row + prompt, row + L);
  }
  report.compare("tokens", results.greedy, expected, absolute(0.5));
}

}  // namespace

void check_gen(const Options& options, const Case& golden, Report& report) {
  const ModelConfig config =
      read_model_config(options.directory + "/config.json");
  const HostArray tokens = golden.array("tokens");
  const int64_t B = tokens.shape().at(0), L = tokens.shape().at(1);
  const int64_t prompt = golden.array("prompt").shape().at(1);
  const int64_t chunk_tokens =
      chunk_length(options, config.mini_batch_size, prompt, 0);
  report.remark("chunk_tokens " + std::to_string(chunk_tokens));
  if (options.micro_batch > 1) {
    report.remark("decoding: one sequence at a time, not --micro-batch");
  }

  Context ctx(options.device);
  LanguageModel model(ctx, config, options.dtype);
  load_weights(ctx, options.directory + "/weights.safetensors",
               model.weights());
  Results results;
  for (int64_t b = 0; b < B; ++b) {
    run(ctx, model, chunk_tokens, tokens.values<int64_t>().subspan(b * L, L),
        static_cast<std::size_t>(prompt), results);
  }
  compare(options, golden, results, prompt, report);
}

}  // namespace timepipe::golden
