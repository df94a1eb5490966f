// Adds up, from shapes and schedule alone, what a step allocates.

#include "launcher/trainer/memory_plan.h"

#include <algorithm>

#include "kernels/gradient_sum.h"
#include "kernels/step_verdict.h"
#include "kernels/ttt_scan.h"
#include "models/language_model.h"
#include "parallel/communicator.h"
#include "parallel/list_memory.h"
#include "parallel/schedule_runner.h"
#include "parallel/sharded_optimizer.h"
#include "runtime/byte_text.h"

namespace timepipe {
namespace {

// The greediest of the places that take scratch: the backward passes of MLP,
// the TTT layer's output, inner loop and head on a chunk.
int64_t scratch_bytes(const LanguageModel& model, const SlabSize& slab) {
  const ModelConfig& config = model.config();
  const Precision& precision = model.weights().precision();
  const Device device = model.weights().flat().device();
  const ChunkRows rows =
      chunk_rows(slab.members, slab.tokens, config.mini_batch_size);
  const int64_t tokens = rows.count();
  const int64_t full = size_of(precision.state);
  const int64_t operand = size_of(precision.compute);
  const int64_t C = config.hidden_size, F = config.intermediate_size;
  const int64_t V = config.vocab_size;
  const int64_t gates = config.use_gate ? 2 : 0;
  int64_t mlp = tokens * ((4 * F + C) * operand + C * full) + C * F * full;
  int64_t output = tokens * C * (2 * full + gates * operand) + C * C * full;
  int64_t head =
      tokens * C * (operand + full) + V * C * full +
      std::min(tokens, cross_entropy_tile_rows(V, device)) * V * full;
  if (operand < full) {  // dx as an operand; what products widen
    mlp += tokens * (C * operand + (C + F) * full);
    output += tokens * C * (operand + 2 * full);
    head += (V + tokens) * C * full;
  }
  const TttShape inner = config.ttt_shape();
  const int64_t scan =
      ttt_scan_scratch_bytes(device, inner, rows, precision.state) +
      (1 + 2 * slab.members) * inner.state_size() * full;
  return std::max({mlp, output, head, scan});
}

// Ids and targets of this data rank's sequences, and of the next step's; the
// chunk grid with its documents; this rank's operations with their prices, and
// those of the next step, after those of all ranks were made.
int64_t step_bytes(const ScheduleShape& shape, const ModelConfig& model,
                   int64_t own_operations, int64_t all_operations) {
  constexpr int64_t kId = sizeof(int64_t);
  constexpr int64_t kOfChunk = 2 * sizeof(ChunkShape) + sizeof(ChunkView);
  const int64_t of_member = sizeof(Segment) + sizeof(double) +
                            (model.pre_conv ? model.halo_rows() : 0) * kId;
  int64_t bytes = 2 * own_operations * (sizeof(Operation) + sizeof(int64_t)) +
                  all_operations * sizeof(Operation);
  for (const MicroBatchShape& micro_batch : shape.micro_batches) {
    for (const ChunkShape& chunk : micro_batch) {
      const ChunkRows rows =
          chunk_rows(chunk.members, chunk.tokens, model.mini_batch_size);
      bytes += kOfChunk + chunk.members * of_member + 4 * kId * rows.count();
    }
  }
  return bytes;
}

// What a save copies of the states that sequences carry: at the end of a step
// they are on the rank of the micro-batch's last chunk.
int64_t carried_bytes(const ScheduleShape& shape, int rank) {
  int64_t bytes = 0;
  for (int64_t i = 0; i < std::ssize(shape.micro_batches); ++i) {
    const int64_t last = std::ssize(shape.micro_batches[i]) - 1;
    if (shape.rank_of(i, last) != rank) continue;
    for (int64_t layer = 0; layer < std::ssize(shape.layers); ++layer) {
      for (int b = 0; b < kBorders; ++b) {
        const LayerBorder border{static_cast<Border>(b), layer};
        if (!shape.keeps(i, last, border)) continue;
        bytes += MemoryPool::block_bytes(shape.bytes(i, border));
      }
    }
  }
  return bytes;
}

}  // namespace

std::array<MemoryPlan::Part, 10> MemoryPlan::parts() const {
  return {{{"weights", weights},
           {"moments and gradient", optimizer},
           {"gradient sums", gradient_sums},
           {"activations", activations},
           {"borders", borders},
           {"scratch", scratch},
           {"reduction", reduction},
           {"ids and operations", step},
           {"copy to save", snapshot},
           {"staging", staging}}};
}

int64_t MemoryPlan::total() const {
  int64_t sum = 0;
  for (const auto& [name, bytes] : parts()) sum += bytes;
  return sum;
}

int64_t MemoryPlan::host_bytes() const {
  return on_device ? reduction + step + snapshot + staging : total();
}

MemoryPlanInput plan_input(const RunConfig& config, int data_rank) {
  MemoryPlanInput input{.model = config.model,
                        .train = config.train,
                        .parallel = config.parallel,
                        .data_rank = data_rank,
                        .micro_batches = {},
                        .keeps_borders = config.data.carry_state,
                        .saves = !config.run_dir.empty(),
                        .device = device_named(config.device).value()};
  const int64_t chunk = config.train.chunk_tokens;
  const int64_t detach = config.train.detach_every_chunks;
  const int64_t size = config.train.micro_batch;
  for (int64_t i = data_rank; i < config.num_micro_batches();
       i += config.parallel.data) {
    MicroBatchShape& shape = input.micro_batches.emplace_back();
    for (int64_t c = 0; c < config.num_chunks(); ++c) {
      const bool goes_on = c > 0 || config.data.carry_state;
      shape.push_back(
          {.tokens = std::min(chunk, config.data.sequence_length - c * chunk),
           .takes_state = goes_on,
           .takes_halo = goes_on,
           .detached = c == 0 ? goes_on : detach > 0 && c % detach == 0,
           .members = std::min(size, config.data.batch - i * size)});
    }
  }
  return input;
}

std::vector<MemoryPlan> plan_memory(const MemoryPlanInput& input) {
  Context counts(input.device, MemoryPool::Mode::kCount);
  const LanguageModel model(counts, input.model, input.train.dtype);
  const auto [compute, state, master] = model.weights().precision();
  const ParameterLayout& layout = model.weights().layout();
  ScheduleShape shape = model.schedule_shape();
  shape.micro_batches = input.micro_batches;
  shape.keeps_borders = input.keeps_borders;
  const int time_ranks = static_cast<int>(input.parallel.time);
  const SlabSize slab =
      complete_shape(shape, time_ranks, input.train.hot_rounds);
  shape.carried_from = ranks_of_last_chunks(shape);
  const std::vector<OperationList> lists = make_schedule(shape);
  int64_t operations = 0;
  for (const OperationList& list : lists) operations += std::ssize(list);
  const std::vector<int64_t> shards =
      shard_borders(layout, time_ranks * static_cast<int>(input.parallel.data));

  const auto taken = MemoryPool::block_bytes;
  std::vector<MemoryPlan> plans;
  for (int rank = 0; rank < time_ranks; ++rank) {
    const std::size_t world_rank = input.data_rank * time_ranks + rank;
    const int64_t shard = shards[world_rank + 1] - shards[world_rank];
    MemoryPlan& plan = plans.emplace_back();
    plan.weights = taken(layout.numel() * size_of(master));
    if (compute != master) {
      plan.weights += taken(layout.numel() * size_of(compute));
    }
    plan.optimizer = 3 * taken(shard * size_of(master));
    plan.gradient_sums = taken(layout.numel() * gradient_sum_words(master) *
                               size_of(DType::kI64)) +
                         taken(size_of(DType::kI64)) +
                         taken(kVerdictSize * size_of(DType::kF64));
    if (input.saves) {  // weights in place of the gradient
      plan.snapshot = plan.optimizer + carried_bytes(shape, rank);
    }
    plan.reduction = sum_buffer_bytes(shard, std::ssize(shards) - 1);
    plan.on_device = input.device != Device{};
    if (plan.on_device && std::ssize(shards) > 2) {  // sums out, weights back
      plan.staging =
          (layout.numel() + shard) * (size_of(DType::kI64) + size_of(master));
    }
    const OperationList& own = lists[rank];
    plan.step = step_bytes(shape, input.model, std::ssize(own), operations);
    if (own.empty()) continue;
    const ListMemory list = list_memory(shape, rank, own);
    plan.activations =
        model.slab_bytes(shape.num_slabs(), slab.members, slab.tokens) +
        list.open_backwards * model.backward_bytes(slab.members, slab.tokens);
    plan.borders = list.border_bytes;
    plan.scratch = scratch_bytes(model, slab);
  }
  return plans;
}

std::string to_string(const MemoryPlan& plan) {
  std::string text;
  for (const auto& [name, bytes] : plan.parts()) {
    if (bytes == 0) continue;
    text +=
        std::string(text.empty() ? "" : ", ") + name + " " + byte_text(bytes);
  }
  return byte_text(plan.total()) + " per rank: " + text;
}

}  // namespace timepipe
