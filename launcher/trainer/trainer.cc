// A training step: forward and backward of a batch, the update, the evaluation.

#include "launcher/trainer/trainer.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include "parallel/watchdog.h"
#include "runtime/termination.h"
#include "runtime/transfer.h"

namespace timepipe {
namespace {

// Where nothing is carried the rank is that of the first chunk, so that equal
// shapes are equal.
void set_carried_from(ScheduleShape& shape, const std::vector<int>& ranks) {
  bool continues = false;
  std::vector<int> from;
  for (std::size_t i = 0; i < shape.micro_batches.size(); ++i) {
    const ChunkShape& first = shape.micro_batches[i].front();
    const bool goes_on = first.takes_state || first.takes_halo;
    from.push_back(goes_on ? ranks[i]
                           : shape.rank_of(static_cast<int64_t>(i), 0));
    continues |= goes_on;
  }
  if (continues) shape.carried_from = std::move(from);
}

// Moves the ids of a share's sequences out of the batch, which a step would
// hold twice otherwise. There they are elsewhere then, all else is kept.
Batch take_sequences(Batch& batch, const DataShare& share) {
  Batch mine;
  for (int64_t s = 0; s < std::ssize(batch); ++s) {
    if (!share.takes(s)) continue;
    batch[s].tokens_elsewhere = batch[s].tokens();
    mine.push_back(std::move(batch[s]));
  }
  return mine;
}

// Of all micro-batches.
int64_t total_chunks(const Batch& batch, const ChunkGrid& grid) {
  int64_t chunks = 0;
  for (int64_t i = 0; i < num_micro_batches(batch, grid); ++i) {
    chunks += num_chunks(sequences_of(batch, i, grid), grid);
  }
  return chunks;
}

}  // namespace

Trainer::Trainer(Context& ctx, Communicator& world, const ModelConfig& model,
                 const TrainConfig& train, const ParallelConfig& parallel,
                 const OptimizerOptions& optimizer)
    : ctx_(ctx),
      train_(train),
      grid_(ctx, world, static_cast<int>(parallel.time),
            static_cast<int>(parallel.data), train.micro_batch),
      model_(ctx, model, train.dtype),
      gradients_(ctx, model_.weights().layout(), model_.weights().dtype()),
      optimizer_(ctx, *grid_.between_all, model_.weights(), optimizer),
      carried_(ctx, grid_),
      runner_(ctx, *grid_.between_time_ranks, model_,
              &carried_.between_runs()) {}

Trainer::StepResult Trainer::step(Batch batch, double lr,
                                  double inner_multiplier, int64_t step) {
  carried_.begin_step(batch, step);
  set_current_step(step);
  set_activity("computing step " + std::to_string(step));
  model_.set_inner_rate_multiplier(inner_multiplier);
  const int64_t labels = count_labels(batch);
  const int64_t sent = grid_.between_time_ranks->bytes_sent();
  optimizer_.reduce(gradients_, run(batch, /*training=*/true));
  bytes_sent_in_steps_ += grid_.between_time_ranks->bytes_sent() - sent;
  if (labels > 0) optimizer_.step(lr);
  const ShardedOptimizer::Report report = optimizer_.report();
  carried_.end_step(batch, step, report.finite);
  return {.loss = labels > 0 ? report.loss : std::nan(""),
          .grad_norm = report.grad_norm,
          .finite = report.finite,
          .labels = labels,
          .digest = report.digest};
}

double Trainer::forward_backward(Batch batch) {
  return sum_on_host(run(batch, /*training=*/true));
}

double Trainer::evaluate(Batch batch) {
  set_activity("evaluating");
  model_.set_inner_rate_multiplier(1.0);
  return sum_on_host(run(batch, /*training=*/false));
}

double Trainer::sum_on_host(const Tensor& losses) {
  const HostArray all = download(ctx_, losses);
  const std::span<const double> values = all.values<double>();
  return std::accumulate(values.begin(), values.end(), 0.0);
}

Tensor Trainer::run(Batch& batch, bool training) {
  if (training) {
    gradients_.start(
        ctx_, total_chunks(batch, chunk_grid()) * model_.addends_per_chunk());
  }
  ScheduleShape shape = shape_of_step(batch, training);
  set_carried_from(
      shape, carried_.between_runs().ranks(std::ssize(shape.micro_batches)));
  set_batch(batch);
  runner_.run(std::move(shape), train_.hot_rounds, gradients_);
  Tensor losses = gather_slots(ctx_, *grid_.between_all, model_.losses(),
                               loss_places(batch));
  model_.set_batch(ctx_, {});  // before the next ids are there
  return losses;
}

void Trainer::make_schedule_ahead(const Batch& batch) {
  ScheduleShape shape = shape_of_step(batch, /*training=*/true);
  // As the step before, of as many chunks, leaves them.
  set_carried_from(shape, ranks_of_last_chunks(shape));
  runner_.make_ahead(std::move(shape), train_.hot_rounds);
}

ScheduleShape Trainer::shape_of_step(const Batch& batch, bool training) const {
  const DataShare share = grid_.share();
  ScheduleShape shape = model_.schedule_shape();
  shape.ranks = grid_.time_ranks;
  shape.training = training;
  const ChunkGrid chunks = chunk_grid();
  for (int64_t i = share.rank; i < num_micro_batches(batch, chunks);
       i += share.ranks) {
    const auto sequences = sequences_of(batch, i, chunks);
    shape.micro_batches.push_back(shape_of(sequences, chunks));
    shape.keeps_borders |=
        training && std::ranges::any_of(sequences, &Sequence::hands_on);
  }
  return shape;
}

void Trainer::set_batch(Batch& batch) {
  model_.set_batch(
      ctx_, ChunkedBatch(take_sequences(batch, grid_.share()), chunk_grid()));
}

ChunkGrid Trainer::chunk_grid() const {
  return {.chunk_tokens = train_.chunk_tokens,
          .mini_batch_size = model_.config().mini_batch_size,
          .detach_every = train_.detach_every_chunks,
          .micro_batch_size = train_.micro_batch};
}

int64_t Trainer::count_labels(const Batch& batch) const {
  int64_t own = 0;
  for (int64_t s = 0; s < std::ssize(batch) && grid_.time_rank == 0; ++s) {
    if (grid_.share().takes(s)) own += batch[s].labels();
  }
  const auto all = gather_values(grid_.world, own);
  return std::accumulate(all.begin(), all.end(), int64_t{0});
}

std::vector<SlotPlace> Trainer::loss_places(const Batch& batch) const {
  std::vector<SlotPlace> places;
  std::vector<ScheduleShape> rings(grid_.data_ranks);
  std::vector<int64_t> slots(grid_.data_ranks);  // of each so far
  const ChunkGrid grid = chunk_grid();
  for (int64_t i = 0; i < num_micro_batches(batch, grid); ++i) {
    const auto sequences = sequences_of(batch, i, grid);
    const auto members = std::ssize(sequences);
    const int data_rank = static_cast<int>(i % grid_.data_ranks);
    ScheduleShape& ring = rings[data_rank];
    ring.ranks = grid_.time_ranks;
    const auto local = std::ssize(ring.micro_batches);
    const int64_t chunks = num_chunks(sequences, grid);
    ring.micro_batches.emplace_back(chunks);
    for (int64_t m = 0; m < members; ++m) {
      for (int64_t c = 0; c < chunks; ++c) {
        places.push_back({data_rank * grid_.time_ranks + ring.rank_of(local, c),
                          slots[data_rank] + c * members + m});
      }
    }
    slots[data_rank] += chunks * members;
  }
  return places;
}

}  // namespace timepipe
