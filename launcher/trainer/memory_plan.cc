#include "launcher/trainer/memory_plan.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

#include "kernels/ttt_scan.h"

namespace timepipe {
namespace {

// The greediest of the places that take scratch: the backward passes of MLP,
// inner loop and head on a chunk, and the reduction of the gradient.
int64_t scratch_bytes(const MemoryPlanInput& input, int64_t tokens) {
  const ModelConfig& model = input.model.config();
  const int64_t element = size_of(input.model.weights().dtype());
  const int64_t C = model.hidden_size, F = model.intermediate_size;
  const int64_t mlp = tokens * (4 * F + 2 * C) + C * F;
  const int64_t head =
      tokens * 2 * C + model.vocab_size * C +
      std::min(tokens, cross_entropy_tile_rows(model.vocab_size)) *
          model.vocab_size;
  const DType dtype = input.model.weights().dtype();
  const TttShape inner = model.ttt_shape();
  const int64_t scan =
      ttt_scan_scratch_bytes(inner, dtype) + 3 * inner.state_size() * element;
  const int64_t words = element == size_of(DType::kF32) ? 1 : 2;
  return std::max({mlp * element, head * element, scan,
                   input.shard_elements * words * size_of(DType::kI64)});
}

std::string size_text(int64_t bytes) {
  const double mib = static_cast<double>(bytes) / (1 << 20);
  char text[32];
  std::snprintf(text, sizeof(text), mib < 1024 ? "%.1f MiB" : "%.2f GiB",
                mib < 1024 ? mib : mib / 1024);
  return text;
}

}  // namespace

MemoryPlan plan_memory(const MemoryPlanInput& input) {
  const ScheduleShape& shape = input.shape;
  const DType dtype = input.model.weights().dtype();
  const int64_t numel = input.model.weights().layout().numel();
  int64_t tokens = 0;
  for (const SequenceShape& sequence : shape.sequences) {
    tokens = std::max(tokens, sequence.front().tokens);
  }
  const auto taken = MemoryPool::block_bytes;
  MemoryPlan plan;
  plan.weights = taken(numel * size_of(dtype));
  plan.optimizer = 3 * taken(input.shard_elements * size_of(dtype));
  plan.gradient_sums =
      taken(numel * size_of(DType::kI64) * (dtype == DType::kF32 ? 1 : 2));
  if (input.saves) plan.snapshot = plan.optimizer;  // weights for the gradient
  if (input.operations.empty()) return plan;
  const ListMemory list = list_memory(shape, input.time_rank, input.operations);
  plan.activations = input.model.lane_bytes(shape.num_lanes(), tokens) +
                     list.open_backwards * input.model.backward_bytes(tokens);
  plan.borders = list.border_bytes;
  plan.scratch = scratch_bytes(input, tokens);
  return plan;
}

std::string to_string(const MemoryPlan& plan) {
  const std::array<std::pair<const char*, int64_t>, 7> parts = {{
      {"weights", plan.weights},
      {"moments and gradient", plan.optimizer},
      {"gradient sums", plan.gradient_sums},
      {"activations", plan.activations},
      {"borders", plan.borders},
      {"scratch", plan.scratch},
      {"copy to save", plan.snapshot},
  }};
  std::string text;
  for (const auto& [name, bytes] : parts) {
    if (bytes == 0) continue;
    text +=
        (text.empty() ? "" : ", ") + std::string(name) + " " + size_text(bytes);
  }
  return size_text(plan.total()) + " per rank: " + text;
}

}  // namespace timepipe
