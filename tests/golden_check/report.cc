#include "tests/golden_check/report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace timepipe::golden {

std::optional<Tolerance> Report::tolerance_of(const std::string& quantity,
                                              Tolerance tolerance) {
  if (!reference_) return tolerance;
  const auto found = reference_->find(quantity);
  if (found == reference_->end()) return std::nullopt;
  met_.insert(quantity);
  // A loss is one number, whose relative error says little.
  return quantity == "loss" ? absolute(2 * found->second)
                            : relative(2 * found->second);
}

void Report::compare(const std::string& name, const Values& actual,
                     const Values& expected, Tolerance tolerance) {
  const auto limit = tolerance_of(name, tolerance);
  if (limit) compare_to(name, actual, expected, *limit);
}

void Report::compare_to(const std::string& name, const Values& actual,
                        const Values& expected, Tolerance tolerance) {
  ++compared_;
  double max_abs = 0, difference = 0, size = 0;
  bool whole = actual.size() == expected.size() && !expected.empty();
  for (std::size_t i = 0; whole && i < expected.size(); ++i) {
    const double d = actual[i] - expected[i];
    whole = std::isfinite(d);
    max_abs = std::max(max_abs, std::abs(d));
    difference += d * d;
    size += expected[i] * expected[i];
  }
  const double floor = 1e-12 * std::sqrt(static_cast<double>(expected.size()));
  const double rel = std::sqrt(difference) / std::max(std::sqrt(size), floor);
  const bool is_relative = tolerance.norm == Tolerance::Norm::kRelativeL2;
  const double measured = is_relative ? rel : max_abs;
  const bool ok = whole && measured <= tolerance.limit;
  if (!ok) ++failed_;
  const double share = whole ? measured / tolerance.limit : HUGE_VAL;
  if (share >= worst_) worst_ = share, worst_name_ = name;
  if (!speaks_) return;
  std::printf("%-58s max_abs %.2e  rel_l2 %.2e  %s %.1e  %s%s\n", name.c_str(),
              max_abs, rel, is_relative ? "rel" : "abs", tolerance.limit,
              ok ? "ok" : "FAIL", whole ? "" : " (missing or not finite)");
}

void Report::compare_copies(const std::string& name, const Values& actual,
                            const Values& expected, int64_t copies,
                            Tolerance tolerance) {
  const auto size = std::ssize(expected);
  if (copies == 1 || std::ssize(actual) != copies * size) {
    return compare(name, actual, expected, tolerance);
  }
  const auto limit = tolerance_of(name, tolerance);
  for (int64_t i = 0; i < copies && limit; ++i) {
    const auto begin = actual.begin() + i * size;
    compare_to(name + ", copy " + std::to_string(i), {begin, begin + size},
               expected, *limit);
  }
}

void Report::stopped(const std::string& why) {
  ++failed_;
  worst_ = HUGE_VAL, worst_name_ = why;
}

void Report::remark(const std::string& text) const {
  if (speaks_) std::printf("%s\n", text.c_str());
}

bool Report::finish(const std::string& directory) const {
  const bool all = !reference_ || met_.size() == reference_->size();
  const bool ok = compared_ > 0 && failed_ == 0 && all;
  if (speaks_ && !all) {
    std::printf("%zu of %zu quantities of the reference compared\n",
                met_.size(), reference_->size());
  }
  if (speaks_) {
    std::printf("%s: %s worst=%.3g of its tolerance (%s)\n", directory.c_str(),
                ok ? "ok" : "FAIL", worst_, worst_name_.c_str());
  }
  return ok;
}

}  // namespace timepipe::golden
