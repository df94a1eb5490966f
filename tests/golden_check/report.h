#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace timepipe::golden {

using Values = std::vector<double>;

// How far a quantity may be from its expected values.
struct Tolerance {
  enum class Norm { kRelativeL2, kMaxAbsolute } norm;
  double limit;
};

inline Tolerance relative(double limit) {
  return {Tolerance::Norm::kRelativeL2, limit};
}
inline Tolerance absolute(double limit) {
  return {Tolerance::Norm::kMaxAbsolute, limit};
}

// One line per quantity: name, max_abs, rel_l2, tolerance, ok or FAIL.
// rel = |a-b| / max(|b|, 1e-12 sqrt(n)). A quantity that is missing, or holds a
// NaN, fails.
class Report {
 public:
  // Errors of quantities by their names.
  using Errors = std::map<std::string, double>;

  // reference: errors of another implementation with the same roundings. Then
  // its quantities are compared and no others, all of them, with tolerances of
  // twice these errors.
  explicit Report(bool speaks, std::optional<Errors> reference = std::nullopt)
      : speaks_(speaks), reference_(std::move(reference)) {}

  void compare(const std::string& name, const Values& actual,
               const Values& expected, Tolerance tolerance);
  // `actual`: so many copies of the quantity, one after the other, each of
  // which is compared.
  void compare_copies(const std::string& name, const Values& actual,
                      const Values& expected, int64_t copies,
                      Tolerance tolerance);
  void remark(const std::string& text) const;
  // What kept the folder from being run, or run to its end: it fails.
  void stopped(const std::string& why);

  // "DIR: ok worst=..." and whether all quantities passed (none: false). Worst
  // is the largest share of a tolerance that was used up.
  bool finish(const std::string& directory) const;

 private:
  void compare_to(const std::string& name, const Values& actual,
                  const Values& expected, Tolerance tolerance);
  // The tolerance of a quantity that is compared.
  std::optional<Tolerance> tolerance_of(const std::string& quantity,
                                        Tolerance tolerance);

  bool speaks_;
  std::optional<Errors> reference_;
  std::set<std::string> met_;  // quantities of the reference
  int64_t compared_ = 0, failed_ = 0;
  double worst_ = 0;
  std::string worst_name_;
};

}  // namespace timepipe::golden
