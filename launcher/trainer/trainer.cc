// A training step: forward and backward of a batch, the update, the evaluation.

#include "launcher/trainer/trainer.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>
#include <vector>

namespace timepipe {
namespace {

// Moves the ids of a share's sequences out of the batch, which a step would
// hold twice otherwise. There they are elsewhere then, all else is kept.
Batch take_sequences(Batch& batch, const DataShare& share) {
  Batch mine;
  for (int64_t s = share.rank; s < std::ssize(batch); s += share.ranks) {
    batch[s].tokens_elsewhere = batch[s].tokens();
    mine.push_back(std::move(batch[s]));
  }
  return mine;
}

int64_t total_chunks(const Batch& batch, int64_t chunk_tokens) {
  int64_t chunks = 0;
  for (const Sequence& sequence : batch) {
    chunks += num_chunks(sequence.tokens(), chunk_tokens);
  }
  return chunks;
}

}  // namespace

Trainer::Trainer(Context& ctx, Communicator& world, const ModelConfig& model,
                 const TrainConfig& train, const ParallelConfig& parallel,
                 const OptimizerOptions& optimizer)
    : train_(train),
      grid_(world, static_cast<int>(parallel.time),
            static_cast<int>(parallel.data)),
      model_(ctx, model, train.dtype),
      gradients_(ctx, model_.weights().layout(), train.dtype),
      optimizer_(ctx, world, model_.weights(), optimizer),
      carried_(grid_),
      runner_(ctx, *grid_.time, model_, &carried_.between_runs()) {}

Trainer::StepResult Trainer::step(Batch batch, double lr,
                                  double inner_multiplier, int64_t step) {
  carried_.begin_step(batch, step);
  set_current_step(step);
  set_activity("computing step " + std::to_string(step));
  model_.set_inner_rate_multiplier(inner_multiplier);
  StepResult result{};
  const int64_t own_labels = count_labels(batch);
  const int64_t sent = grid_.time->bytes_sent();
  result.loss = run(batch, /*training=*/true);
  model_.set_batch({});  // before the next step's ids are there
  bytes_sent_in_steps_ += grid_.time->bytes_sent() - sent;
  const ShardedOptimizer::Gradient gradient = optimizer_.reduce(gradients_);
  result.grad_norm = gradient.norm;
  result.finite = gradient.finite && std::isfinite(result.loss);
  const auto labels = gather_values(grid_.world, own_labels);
  result.labels = std::accumulate(labels.begin(), labels.end(), int64_t{0});
  if (result.finite && result.labels > 0) optimizer_.step(lr);
  if (result.labels == 0) result.loss = std::nan("");
  carried_.end_step(batch, step, result.finite);
  result.digest = optimizer_.digest();
  return result;
}

double Trainer::forward_backward(Batch batch) {
  return run(batch, /*training=*/true);
}

double Trainer::evaluate(Batch batch) {
  set_activity("evaluating");
  model_.set_inner_rate_multiplier(1.0);
  const double loss = run(batch, /*training=*/false);
  model_.set_batch({});
  return loss;
}

double Trainer::run(Batch& batch, bool training) {
  if (training) {
    gradients_.start(total_chunks(batch, train_.chunk_tokens) *
                     model_.addends_per_chunk());
  }
  runner_.run(set_batch(batch, training), train_.hot_rounds, gradients_);
  return gather_loss(batch);
}

ScheduleShape Trainer::set_batch(Batch& batch, bool training) {
  Batch mine = take_sequences(batch, grid_.share());
  const bool keeps = std::ranges::any_of(mine, &Sequence::hands_on);
  model_.set_batch(ChunkedBatch(std::move(mine), train_.chunk_tokens,
                                model_.config().mini_batch_size,
                                train_.detach_every_chunks));
  ScheduleShape shape = model_.schedule_shape();
  shape.sequences = model_.batch().shapes();
  shape.training = training;
  shape.keeps_borders = training && keeps;
  return shape;
}

int64_t Trainer::count_labels(const Batch& batch) const {
  int64_t own = 0;
  for (int64_t s = 0; s < std::ssize(batch) && grid_.time_rank == 0; ++s) {
    if (grid_.share().takes(s)) own += batch[s].labels();
  }
  return own;
}

// The losses of all (sequence, chunk) pairs, wherever they were computed, added
// in the order of sequences and chunks.
double Trainer::gather_loss(const Batch& batch) {
  std::vector<int> owners;  // of the pairs, in that order
  std::vector<double> mine;
  std::vector<ScheduleShape> rings(grid_.data_ranks);
  for (std::size_t s = 0; s < batch.size(); ++s) {
    const int data_rank = static_cast<int>(s) % grid_.data_ranks;
    ScheduleShape& ring = rings[data_rank];
    ring.ranks = grid_.time_ranks;
    const auto local = static_cast<int64_t>(ring.sequences.size());
    const int64_t chunks = num_chunks(batch[s].tokens(), train_.chunk_tokens);
    ring.sequences.emplace_back(chunks);
    for (int64_t c = 0; c < chunks; ++c) {
      owners.push_back(data_rank * grid_.time_ranks + ring.rank_of(local, c));
      if (owners.back() == grid_.world.rank()) {
        mine.push_back(model_.loss(local, c));
      }
    }
  }
  std::vector<int64_t> counts(grid_.world.size());
  for (const int owner : owners) ++counts[owner];
  const std::vector<double> all = gather_values(grid_.world, mine, counts);
  std::vector<std::size_t> next(grid_.world.size());  // of each rank, in `all`
  for (std::size_t r = 1; r < next.size(); ++r) {
    next[r] = next[r - 1] + counts[r - 1];
  }
  double loss = 0;
  for (const int owner : owners) loss += all[next[owner]++];
  return loss;
}

}  // namespace timepipe
