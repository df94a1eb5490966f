#include <cmath>

#include "tests/golden_check/layer_inputs.h"

namespace timepipe::golden {
namespace {

// sum(out * cot.out) and the like for what has a cotangent, over all copies;
// `size` is the sum of the addends' sizes.
struct Objective {
  double value = 0, size = 0;
};

Objective objective(const Case& golden,
                    const std::map<std::string, Values>& got) {
  Objective sum;
  for (const auto& [name, values] : got) {
    if (!golden.has("cot." + name)) continue;
    const Values cot = golden.values("cot." + name);
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double addend = values[i] * cot.at(i % cot.size());
      sum.value += addend;
      sum.size += std::abs(addend);
    }
  }
  return sum;
}

// eta[b,h,n,i,j] = token_idx[i] * ttt_lr_eta[b,h,n,j].
Values product_of_parts(const Case& golden) {
  const Values tok = golden.values("token_idx");
  const Values lr = golden.values("ttt_lr_eta");
  Values eta;
  for (std::size_t first = 0; first < lr.size(); first += tok.size()) {
    for (const double scale : tok) {
      for (std::size_t j = 0; j < tok.size(); ++j) {
        eta.push_back(scale * lr[first + j]);
      }
    }
  }
  return eta;
}

// Gradients of parameters that all sequences share.
bool is_sum(const std::string& name) {
  return name == "grad.token_idx" || name.starts_with("grad.ttt_norm_");
}

}  // namespace

std::map<std::string, Values> name_states(const TttShape& shape,
                                          std::map<std::string, Values> got,
                                          int64_t batch) {
  std::map<std::string, Values> named;
  for (auto& [name, values] : got) {
    const bool is_state = name.starts_with("_") || name.starts_with("grad._");
    if (!is_state) {
      named[name] = std::move(values);
      continue;
    }
    const std::size_t at = name.find('_');
    for (auto& [part, piece] : split_state(shape, values, batch)) {
      named[name.substr(0, at) + part + name.substr(at)] = std::move(piece);
    }
  }
  return named;
}

void compare_layer(const Options& options, const Case& golden,
                   const std::map<std::string, Values>& got, int64_t copies,
                   Report& report) {
  const auto mean = 1.0 / static_cast<double>(copies);
  for (const auto& [name, values] : got) {
    const double reference = golden.note({"f32_vs_f64_rel_l2", name}, 0);
    const bool sum = is_sum(name);
    report.compare_copies(
        name, sum ? scaled(values, mean) : values, golden.values(name),
        sum ? 1 : copies,
        name.starts_with("grad.")
            ? gradient_tolerance(options.dtype, name, reference)
            : value_tolerance(options.dtype, 1e-5, reference));
  }
  // Addends of both signs cancel: their sizes, not the sum's, are the measure.
  const Objective sum = objective(golden, got);
  report.compare(
      "objective", {sum.value * mean}, golden.values("objective"),
      absolute((options.dtype == DType::kF64 ? 1e-9 : 1e-5) * sum.size * mean));
  report.compare("eta", product_of_parts(golden), golden.values("eta"),
                 relative(1e-12));
  report.remark(
      "grad.eta: eta is no input here; its parts are checked as "
      "grad.ttt_lr_eta and grad.token_idx");
}

}  // namespace timepipe::golden
