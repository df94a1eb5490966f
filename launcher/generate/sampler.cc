// Temperature, top_k, top_p, then a draw.

#include "launcher/generate/sampler.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <string>

#include "runtime/error.h"
#include "runtime/number_text.h"
#include "runtime/rng.h"

namespace timepipe {
namespace {

constexpr double kGone = -std::numeric_limits<double>::infinity();

std::vector<double> finite_values(const HostArray& logits, int64_t position) {
  std::vector<double> values(static_cast<std::size_t>(logits.numel()));
  dispatch(logits.dtype(), [&](auto zero) {
    std::ranges::copy(logits.values<decltype(zero)>(), values.begin());
  });
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (std::isfinite(values[i])) continue;
    throw InvalidArgument("logits after " + std::to_string(position) +
                          " tokens: " + std::to_string(values[i]) + " of id " +
                          std::to_string(i) + ", expected finite numbers");
  }
  return values;
}

void keep_top_k(int64_t k, std::vector<double>& logits) {
  if (k >= static_cast<int64_t>(logits.size())) return;
  std::vector<double> order = logits;
  std::ranges::nth_element(order, order.begin() + (k - 1), std::greater());
  const double least = order[static_cast<std::size_t>(k - 1)];
  std::ranges::replace_if(
      logits, [=](double z) { return z < least; }, kGone);
}

// exp(z - largest), normalised.
void softmax(std::vector<double>& z) {
  const double top = *std::ranges::max_element(z);
  double sum = 0;
  for (double& v : z) sum += v = std::exp(v - top);
  for (double& v : z) v /= sum;
}

// Goes through tokens from the most probable, the lower id first of equals;
// those before which the sum has reached p go.
void keep_top_p(double p, std::vector<double>& probability) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < probability.size(); ++i) {
    if (probability[i] > 0) order.push_back(i);
  }
  std::ranges::stable_sort(order, std::greater(),
                           [&](std::size_t i) { return probability[i]; });
  double sum = 0;
  for (const std::size_t i : order) {
    if (sum >= p) {
      probability[i] = 0;
    } else {
      sum += probability[i];
    }
  }
  for (double& v : probability) v /= sum;
}

}  // namespace

void validate(const SamplerOptions& options) {
  require(std::isfinite(options.temperature) && options.temperature >= 0,
          "--temperature: ", significant(options.temperature, 6),
          ", expected a number of at least 0");
  require(options.top_k >= 0, "--top-k: ", options.top_k,
          ", expected at least 1, or 0 for all");
  require(options.top_p > 0 && options.top_p <= 1,
          "--top-p: ", significant(options.top_p, 6),
          ", expected a number above 0 and at most 1");
}

std::vector<double> probabilities(const SamplerOptions& options,
                                  const std::vector<double>& logits) {
  std::vector<double> z = logits;
  // From the largest: a tiny temperature overflows nothing.
  const double top = *std::ranges::max_element(z);
  for (double& v : z) v = (v - top) / options.temperature;
  if (options.top_k > 0) keep_top_k(options.top_k, z);
  softmax(z);
  if (options.top_p < 1) keep_top_p(options.top_p, z);
  return z;
}

int64_t sample(const SamplerOptions& options, int64_t position,
               const HostArray& logits) {
  const std::vector<double> z = finite_values(logits, position);
  if (options.temperature == 0) {
    return std::ranges::max_element(z) - z.begin();
  }
  const std::vector<double> p = probabilities(options, z);
  const double u =
      Rng(options.seed, "sample").uniform(static_cast<uint64_t>(position));
  double sum = 0;
  std::size_t last = 0;  // rounding may leave the sum below u
  for (std::size_t i = 0; i < p.size(); ++i) {
    if (p[i] <= 0) continue;
    last = i;
    sum += p[i];
    if (u < sum) break;
  }
  return static_cast<int64_t>(last);
}

}  // namespace timepipe
