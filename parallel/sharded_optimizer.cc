// Reduces gradients to shards, updates them and gathers the weights.

#include "parallel/sharded_optimizer.h"

#include <algorithm>
#include <array>
#include <bit>
#include <span>
#include <string>

#include "kernels/adamw.h"
#include "kernels/gradient_sum.h"
#include "kernels/parameter_blocks.h"
#include "kernels/step_verdict.h"
#include "runtime/transfer.h"

namespace timepipe {
namespace {

// The first block of each shard, and the number of blocks: each border is the
// border of blocks next to an equal share of the elements. A function of layout
// and ranks alone. With more ranks than blocks some shards are empty.
std::vector<int64_t> cut_blocks(const ParameterLayout& layout, int ranks) {
  std::vector<int64_t> begin(ranks + 1, 0);
  begin[ranks] = layout.num_blocks();
  for (int rank = 1; rank < ranks; ++rank) {
    const int64_t share =
        layout.numel() / ranks * rank + layout.numel() % ranks * rank / ranks;
    int64_t low = begin[rank - 1], high = begin[ranks];
    while (low < high) {
      const int64_t middle = low + (high - low) / 2;
      const ParameterBlock block = layout.block(middle);
      if (block.offset + block.count / 2 < share) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    begin[rank] = low;
  }
  return begin;
}

std::vector<int64_t> cut_elements(const ParameterLayout& layout,
                                  const std::vector<int64_t>& block_begin) {
  std::vector<int64_t> begin;
  begin.reserve(block_begin.size());
  for (const int64_t block : block_begin) {
    begin.push_back(block < layout.num_blocks() ? layout.block(block).offset
                                                : layout.numel());
  }
  return begin;
}

std::vector<int64_t> counts_of(const std::vector<int64_t>& begin) {
  std::vector<int64_t> counts(begin.size() - 1);
  for (std::size_t r = 0; r < counts.size(); ++r) {
    counts[r] = begin[r + 1] - begin[r];
  }
  return counts;
}

// The sum over ranks, of this rank's shard, in place of its own addends.
void sum_over_ranks(Exchange& world, const Tensor& words,
                    const std::vector<int64_t>& begin) {
  const std::vector<int64_t> counts = counts_of(begin);
  const int rank = world.rank();
  for (int64_t w = 0; w < words.dim(0); ++w) {
    const Tensor plane = words.slice(w, w + 1).reshape({words.dim(1)});
    Tensor own = plane.slice(begin[rank], begin[rank + 1]);
    world.reduce_scatter_sum(plane, counts, own);
  }
}

bool decays(const std::string& name) {
  static constexpr std::array<const char*, 5> kExcluded = {
      "norm.weight", "bias", "ttt_norm_weight", ".b1", ".b2"};
  return std::none_of(kExcluded.begin(), kExcluded.end(),
                      [&](const char* end) { return name.ends_with(end); });
}

// Elements [begin, end) of the flat buffer.
struct Run {
  int64_t begin, end;
  bool decay;
};

// The elements of blocks [first, last) as few runs of equal decay.
std::vector<Run> make_runs(const ParameterLayout& layout, int64_t first,
                           int64_t last, bool decay_all) {
  std::vector<Run> runs;
  for (int64_t i = first; i < last; ++i) {
    const ParameterBlock block = layout.block(i);
    const int64_t end = block.offset + block.count;
    const bool decay =
        decay_all || decays(layout.parameters()[block.parameter].name);
    if (!runs.empty() && runs.back().end == block.offset &&
        runs.back().decay == decay) {
      runs.back().end = end;
    } else {
      runs.push_back({block.offset, end, decay});
    }
  }
  return runs;
}

// Of the hashes of all blocks.
uint64_t digest_of(const HostArray& hashes) {
  std::vector<uint64_t> bits;
  for (const int64_t hash : hashes.values<int64_t>()) {
    bits.push_back(std::bit_cast<uint64_t>(hash));
  }
  return combine_hashes(bits);
}

}  // namespace

uint64_t digest_of(Context& ctx, const ParameterStore& weights) {
  const int64_t blocks = weights.layout().num_blocks();
  Tensor hashes = ctx.allocate({blocks}, DType::kI64);
  block_hashes(ctx, weights.layout(), 0, blocks, weights.flat(), hashes);
  return digest_of(download(ctx, hashes));
}

std::vector<int64_t> shard_borders(const ParameterLayout& layout, int ranks) {
  return cut_elements(layout, cut_blocks(layout, ranks));
}

ShardedOptimizer::ShardedOptimizer(Context& ctx, Exchange& world,
                                   ParameterStore& weights,
                                   const OptimizerOptions& options)
    : ctx_(ctx),
      world_(world),
      weights_(weights),
      options_(options),
      block_begin_(cut_blocks(weights.layout(), world.size())) {
  shard_begin_ = cut_elements(weights.layout(), block_begin_);
  const int rank = world.rank();
  const Shape shard = {shard_begin_[rank + 1] - shard_begin_[rank]};
  for (Tensor* t : {&gradient_, &m_, &v_}) {
    *t = ctx.zeros(shard, weights.dtype(), MemoryUse::kParameters);
  }
  verdict_ = ctx.zeros({kVerdictSize}, DType::kF64, MemoryUse::kParameters);
}

void ShardedOptimizer::reduce(GradientSum& sum, const Tensor& losses) {
  require(sum.dtype() == weights_.dtype(),
          "gradient sum: of another dtype than the weights, ",
          name_of(weights_.dtype()));
  require(sum.words().dim(1) == weights_.layout().numel(),
          "gradient sum: ", sum.words().dim(1), " elements, the weights have ",
          weights_.layout().numel());
  sum.end();
  const int rank = world_.rank();
  sum_over_ranks(world_, sum.words(), shard_begin_);
  gradient_sum_values(ctx_, sum.words(), shard_begin_[rank], gradient_);

  const ParameterLayout& layout = weights_.layout();
  const int64_t first = block_begin_[rank], last = block_begin_[rank + 1];
  Tensor own = ctx_.allocate({last - first}, DType::kF64);
  block_square_sums(ctx_, layout, first, last, gradient_, own);
  Tensor squares = ctx_.allocate({layout.num_blocks()}, DType::kF64);
  world_.all_gather(own, counts_of(block_begin_), squares);
  Tensor refused = ctx_.allocate({world_.size()}, DType::kI64);
  world_.all_gather(sum.refused(), std::vector<int64_t>(world_.size(), 1),
                    refused);
  step_verdict(ctx_, losses, squares, refused, options_.clip_norm, verdict_);
  stepped_ = false;
}

void ShardedOptimizer::step(double lr) {
  const int rank = world_.rank();
  const int64_t shard = shard_begin_[rank];
  for (const Run& run :
       make_runs(weights_.layout(), block_begin_[rank], block_begin_[rank + 1],
                 options_.decay_norms_and_biases)) {
    const AdamW hyper{.lr = lr,
                      .beta1 = options_.beta1,
                      .beta2 = options_.beta2,
                      .eps = options_.eps,
                      .weight_decay = run.decay ? options_.weight_decay : 0,
                      .step = updates_};
    const auto own = [&](const Tensor& t) {
      return t.slice(run.begin - shard, run.end - shard);
    };
    Tensor m = own(m_), v = own(v_);
    Tensor p = weights_.flat().slice(run.begin, run.end);
    adamw(ctx_, hyper, verdict_, own(gradient_), m, v, p);
  }
  world_.all_gather(weights_.flat().slice(shard, shard_begin_[rank + 1]),
                    counts_of(shard_begin_), weights_.flat());
  stepped_ = true;
}

ShardedOptimizer::Report ShardedOptimizer::report() {
  const Tensor hashes = gather_hashes();
  HostArray verdict = ctx_.pinned(verdict_.shape(), verdict_.dtype());
  HostArray digests = ctx_.pinned(hashes.shape(), hashes.dtype());
  download_later(ctx_, verdict_, verdict.bytes());
  download_later(ctx_, hashes, digests.bytes()).synchronize();
  const StepVerdict judged = StepVerdict::of(verdict.values<double>().data());
  const bool finite = judged.finite != 0;
  if (stepped_ && finite) ++updates_;
  stepped_ = false;
  return {.loss = judged.loss,
          .grad_norm = judged.grad_norm,
          .finite = finite,
          .digest = digest_of(digests)};
}

uint64_t ShardedOptimizer::digest() {
  return digest_of(download(ctx_, gather_hashes()));
}

// Of all blocks of the weights, each from the rank that owns it.
Tensor ShardedOptimizer::gather_hashes() {
  const ParameterLayout& layout = weights_.layout();
  const int rank = world_.rank();
  const int64_t first = block_begin_[rank], last = block_begin_[rank + 1];
  Tensor own = ctx_.allocate({last - first}, DType::kI64);
  block_hashes(ctx_, layout, first, last, weights_.flat(), own);
  Tensor hashes = ctx_.allocate({layout.num_blocks()}, DType::kI64);
  world_.all_gather(own, counts_of(block_begin_), hashes);
  return hashes;
}

Tensor ShardedOptimizer::gather_gradient() { return gather(gradient_); }
Tensor ShardedOptimizer::gather_first_moment() { return gather(m_); }
Tensor ShardedOptimizer::gather_second_moment() { return gather(v_); }

Tensor ShardedOptimizer::gather(const Tensor& shard) {
  Tensor flat = ctx_.allocate({weights_.layout().numel()}, weights_.dtype());
  world_.all_gather(shard, counts_of(shard_begin_), flat);
  return flat;
}

}  // namespace timepipe
