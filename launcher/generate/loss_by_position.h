#pragma once

#include <cstdint>
#include <vector>

namespace timepipe {

// Losses of predicted tokens, by how many tokens of its window the model had
// read: buckets [1,1], [2,3], [4,7], ... of twice as many each.
class LossByPosition {
 public:
  struct Bucket {
    int64_t first, last;  // tokens read, both included
    int64_t tokens = 0;   // predictions
    double sum = 0;

    double mean() const { return sum / static_cast<double>(tokens); }
  };

  // tokens_read: at least 1.
  void add(int64_t tokens_read, double loss);

  int64_t tokens() const { return tokens_; }
  double mean() const { return sum_ / static_cast<double>(tokens_); }
  // Those with tokens, in ascending order.
  std::vector<Bucket> buckets() const;

 private:
  std::vector<Bucket> buckets_;
  int64_t tokens_ = 0;
  double sum_ = 0;
};

}  // namespace timepipe
