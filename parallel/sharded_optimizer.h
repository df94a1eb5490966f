#pragma once

#include <cstdint>

#include "parallel/exchange.h"
#include "parallel/gradient_sum.h"

namespace timepipe {

struct OptimizerOptions {
  double beta1 = 0.9, beta2 = 0.95, eps = 1e-8, weight_decay = 0.1;
  double clip_norm = 1.0;  // 0: no clipping
  // false: parameters that are norms or biases (ends_with "norm.weight",
  // "bias", "ttt_norm_weight", ".b1", ".b2") don't decay. The
  // official training decays every parameter.
  bool decay_norms_and_biases = true;
};

// First element of every rank's shard of the flat buffer, and at the end the
// number of elements. Borders of shards are borders of parameter blocks.
std::vector<int64_t> shard_borders(const ParameterLayout& layout, int ranks);

// The digest of a step's weights as this rank has them: xxh64 over the hashes
// of their blocks.
uint64_t digest_of(Context& ctx, const ParameterStore& weights);

// AdamW with its gradients and moments cut into shards over all ranks of
// `world` (ZeRO-1, Rajbhandari et al. 2020). Shard borders are borders of
// parameter blocks. Every result has the same bits for any number of ranks.
class ShardedOptimizer {
 public:
  ShardedOptimizer(Context& ctx, Exchange& world, ParameterStore& weights,
                   const OptimizerOptions& options);

  // Sums the gradients over ranks into this rank's shard, for which it uses up
  // `sum`, a step's that has begun, and judges the step: the loss is the sum of
  // `losses` [n] of f64, in their order and equal on all ranks; the norm that
  // of the float64 sums of squares of blocks, added in their order. Collective.
  void reduce(GradientSum& sum, const Tensor& losses);

  // AdamW on the shard with the gradient of the last reduce(), clipped (g *=
  // clip/norm if norm >= clip), unless the step isn't finite; gathers the
  // weights. Collective.
  void step(double lr);

  struct Report {
    double loss, grad_norm;  // norm over all parameters, before clipping
    bool finite;  // false: some rank refused an addend, or loss or norm isn't;
                  // step() changed nothing
    uint64_t digest;  // of the weights: xxh64 over the hashes of their blocks
  };
  // What came of the last reduce() and of step(), if that was called after it:
  // the host waits for the step's work. Collective.
  Report report();

  // The updates that the moments hold, which AdamW's bias correction counts.
  int64_t updates() const { return updates_; }
  void set_updates(int64_t updates) { updates_ = updates; }

  // The digest of the weights alone. Collective.
  uint64_t digest();

  // First element of a rank's shard in the flat buffer; of world.size(): the
  // number of elements.
  int64_t shard_begin(int rank) const { return shard_begin_.at(rank); }
  // This rank's shards of the moments, for checkpoints.
  Tensor& first_moment() { return m_; }
  Tensor& second_moment() { return v_; }

  // The whole of what is sharded, for tests: gathers the reduced gradient
  // (before clipping) or a moment, flat. Collective.
  Tensor gather_gradient();
  Tensor gather_first_moment();
  Tensor gather_second_moment();

 private:
  Tensor gather(const Tensor& shard);
  Tensor gather_hashes();

  Context& ctx_;
  Exchange& world_;
  ParameterStore& weights_;
  OptimizerOptions options_;
  // Elements [shard_begin_[r], shard_begin_[r+1]) and blocks likewise of rank
  // r.
  std::vector<int64_t> shard_begin_, block_begin_;
  Tensor gradient_, m_, v_;  // this rank's shard
  Tensor verdict_;           // of the last reduce()
  bool stepped_ = false;     // since then
  int64_t updates_ = 0;
};

}  // namespace timepipe
