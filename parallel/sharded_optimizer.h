#pragma once

#include <cstdint>

#include "kernels/adamw.h"
#include "parallel/communicator.h"
#include "runtime/gradient_sum.h"

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

// AdamW with its gradients and moments cut into shards over all ranks of
// `world` (ZeRO-1, Rajbhandari et al. 2020). Shard borders are borders of
// parameter blocks. Every result has the same bits for any number of ranks.
class ShardedOptimizer {
 public:
  ShardedOptimizer(Context& ctx, Communicator& world, ParameterStore& weights,
                   const OptimizerOptions& options);

  struct Gradient {
    double norm;  // over all parameters, before clipping
    bool finite;  // false: some rank refused an addend, or the norm isn't
  };

  // Sums the gradients over ranks into this rank's shard. The norm: float64 sum
  // of squares per block, added in the order of blocks. Collective.
  Gradient reduce(const GradientSum& sum);

  // Clips (g *= clip/norm if norm >= clip), runs AdamW on the shard with the
  // gradient of the last reduce(), gathers the weights. Collective.
  void step(double lr);
  // The updates that the moments hold, which AdamW's bias correction counts.
  int64_t updates() const { return updates_; }
  void set_updates(int64_t updates) { updates_ = updates; }

  // xxh64 over the block hashes of the weights. Collective.
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

  Context& ctx_;
  Communicator& world_;
  ParameterStore& weights_;
  OptimizerOptions options_;
  // Elements [shard_begin_[r], shard_begin_[r+1]) and blocks likewise of rank
  // r.
  std::vector<int64_t> shard_begin_, block_begin_;
  Tensor gradient_, m_, v_;  // this rank's shard
  Gradient last_{};
  int64_t updates_ = 0;
};

}  // namespace timepipe
