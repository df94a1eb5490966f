// Reduces gradients to shards, updates them and gathers the weights.

#include "parallel/sharded_optimizer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <ranges>
#include <string>

#include "runtime/parallel_for.h"

namespace timepipe {
namespace {

// Elements that AdamW takes at once: bounds the memory of the clipped gradient.
constexpr int64_t kMaxRun = 64 * ParameterBlock::kElements;

// The first block of each shard, and the number of blocks: each border is the
// border of blocks next to an equal share of the elements. A function of layout
// and ranks alone. With more ranks than blocks some shards are empty.
std::vector<int64_t> cut_blocks(const ParameterLayout& layout, int ranks) {
  std::vector<int64_t> begin(ranks + 1, 0);
  begin[ranks] = layout.num_blocks();
  for (int rank = 1; rank < ranks; ++rank) {
    const int64_t share =
        layout.numel() / ranks * rank + layout.numel() % ranks * rank / ranks;
    begin[rank] = *std::ranges::partition_point(
        std::views::iota(begin[rank - 1], begin[ranks]), [&](int64_t b) {
          const ParameterBlock block = layout.block(b);
          return block.offset + block.count / 2 < share;
        });
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

// flat = the shards of all ranks, counts[r] elements each. `shard` may be its
// own place in `flat`.
void gather_shards(Communicator& world, const Tensor& shard,
                   std::vector<int64_t> counts, Tensor& flat) {
  for (int64_t& count : counts) count *= size_of(flat.dtype());
  world.all_gather(shard.bytes(), counts, flat.bytes()).wait();
}

// In eight sums, element i in sum i % 8, so that the compiler may add in
// vectors of any width without changing the order.
template <class T>
double sum_of_squares(const T* x, int64_t n) {
  std::array<double, 8> sums{};
  for (int64_t i = 0; i < n; ++i) {
    const double value = x[i];
    sums[i % 8] += value * value;
  }
  return std::accumulate(sums.begin(), sums.end(), 0.);
}

// values = the sum over ranks, of this rank's shard of counts[rank] elements.
void sum_over_ranks(Context& ctx, Communicator& world, const GradientSum& sum,
                    const std::vector<int64_t>& counts, Tensor& values) {
  const int words = sum.words_per_element();
  const int64_t own = values.numel();
  Tensor sums = ctx.allocate({words, own}, DType::kI64);
  std::vector<Request> requests;
  std::vector<std::span<const int64_t>> planes;
  for (int w = 0; w < words; ++w) {
    const std::span<int64_t> plane(sums.data<int64_t>() + w * own, own);
    requests.push_back(world.reduce_scatter_sum(sum.plane(w), counts, plane));
    planes.push_back(plane);
  }
  for (Request& request : requests) request.wait();
  GradientSum::to_values(values.dtype(), planes, values);
}

// The sum of squares of each of the blocks [first, last) of `shard`, whose
// first element is that of block `first`.
std::vector<double> block_sums_of_squares(const ParameterLayout& layout,
                                          int64_t first, int64_t last,
                                          const Tensor& shard) {
  std::vector<double> sums(last - first);
  dispatch(shard.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const T* x = shard.data<T>();
    parallel_for(last - first, [&](int64_t i) {
      const ParameterBlock block = layout.block(first + i);
      sums[i] = sum_of_squares(x + block.offset - layout.block(first).offset,
                               block.count);
    });
  });
  return sums;
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
        runs.back().decay == decay && end - runs.back().begin <= kMaxRun) {
      runs.back().end = end;
    } else {
      runs.push_back({block.offset, end, decay});
    }
  }
  return runs;
}

// y = factor * x
void scale(const Tensor& x, double factor, Tensor& y) {
  dispatch(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const T* from = x.data<T>();
    T* to = y.data<T>();
    const T by = static_cast<T>(factor);
    parallel_pieces(x.numel(), ParameterBlock::kElements,
                    [&](int64_t begin, int64_t end) {
                      for (int64_t i = begin; i < end; ++i)
                        to[i] = by * from[i];
                    });
  });
}

}  // namespace

std::vector<int64_t> shard_borders(const ParameterLayout& layout, int ranks) {
  return cut_elements(layout, cut_blocks(layout, ranks));
}

ShardedOptimizer::ShardedOptimizer(Context& ctx, Communicator& world,
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
}

ShardedOptimizer::Gradient ShardedOptimizer::reduce(const GradientSum& sum) {
  require(sum.words_per_element() == (weights_.dtype() == DType::kF32 ? 1 : 2),
          std::string("gradient sum: of another dtype than the weights, ") +
              name_of(weights_.dtype()));
  require(std::ssize(sum.plane(0)) == weights_.layout().numel(),
          "gradient sum: " + std::to_string(sum.plane(0).size()) +
              " elements, the weights have " +
              std::to_string(weights_.layout().numel()));
  sum_over_ranks(ctx_, world_, sum, counts_of(shard_begin_), gradient_);

  const int rank = world_.rank();
  double square = 0;
  for (const double block_square : gather_values(
           world_,
           block_sums_of_squares(weights_.layout(), block_begin_[rank],
                                 block_begin_[rank + 1], gradient_),
           counts_of(block_begin_))) {
    square += block_square;
  }
  int64_t refused = 0;
  for (const int64_t refused_there :
       gather_values(world_, std::vector{sum.num_refused()},
                     std::vector<int64_t>(world_.size(), 1))) {
    refused += refused_there;
  }
  const double norm = std::sqrt(square);
  last_ = {.norm = norm, .finite = refused == 0 && std::isfinite(norm)};
  return last_;
}

void ShardedOptimizer::step(double lr) {
  require(last_.finite, "optimizer: update " + std::to_string(updates_) +
                            ": needs a finite gradient from reduce()");
  const bool clip = options_.clip_norm > 0 && last_.norm >= options_.clip_norm;
  const int rank = world_.rank();
  const int64_t shard = shard_begin_[rank];
  // gradient_ stays as it was before clipping.
  Tensor clipped = ctx_.allocate(
      {clip ? std::min(kMaxRun, gradient_.numel()) : 0}, gradient_.dtype());
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
    Tensor g = own(gradient_), m = own(m_), v = own(v_);
    if (clip) {
      Tensor scaled = clipped.slice(0, g.numel());
      scale(g, options_.clip_norm / last_.norm, scaled);
      g = scaled;
    }
    Tensor p = weights_.flat().slice(run.begin, run.end);
    adamw(ctx_, hyper, g, m, v, p);
  }
  gather_shards(world_, weights_.flat().slice(shard, shard_begin_[rank + 1]),
                counts_of(shard_begin_), weights_.flat());
  ++updates_;
}

uint64_t ShardedOptimizer::digest() {
  const int rank = world_.rank();
  return combine_hashes(
      gather_values(world_,
                    block_hashes(weights_.layout(), weights_.flat(),
                                 block_begin_[rank], block_begin_[rank + 1]),
                    counts_of(block_begin_)));
}

Tensor ShardedOptimizer::gather_gradient() { return gather(gradient_); }
Tensor ShardedOptimizer::gather_first_moment() { return gather(m_); }
Tensor ShardedOptimizer::gather_second_moment() { return gather(v_); }

Tensor ShardedOptimizer::gather(const Tensor& shard) {
  Tensor flat = ctx_.allocate({weights_.layout().numel()}, weights_.dtype());
  gather_shards(world_, shard, counts_of(shard_begin_), flat);
  return flat;
}

}  // namespace timepipe
