#include "parallel/schedule.h"

#include <span>
#include <string>

#include "parallel/schedule_messages.h"
#include "parallel/schedule_simulation.h"
#include "runtime/error.h"

namespace timepipe {

const char* name_of(Part part) {
  constexpr const char* kNames[] = {"embed", "conv",   "project",
                                    "scan",  "output", "head"};
  return kNames[static_cast<int>(part)];
}

const char* name_of(Border border) {
  constexpr const char* kNames[] = {"halo_x", "halo_qk", "state"};
  return kNames[static_cast<int>(border)];
}

const char* name_of(Phase phase) {
  constexpr const char* kNames[] = {"forward", "recompute", "backward"};
  return kNames[static_cast<int>(phase)];
}

std::optional<LayerBorder> border_in(Part part, int64_t layer) {
  switch (part) {
    case Part::kConv:
      if (layer == 0) return std::nullopt;
      return LayerBorder{Border::kHaloX, layer};
    case Part::kProject:
      return LayerBorder{Border::kHaloQk, layer};
    case Part::kScan:
      return LayerBorder{Border::kState, layer};
    default:
      return std::nullopt;
  }
}

std::optional<LayerBorder> border_out(Part part, int64_t layer,
                                      int64_t layers) {
  switch (part) {
    case Part::kConv:
      return LayerBorder{Border::kHaloQk, layer};
    case Part::kScan:
      return LayerBorder{Border::kState, layer};
    case Part::kOutput:
      if (layer + 1 == layers) return std::nullopt;
      return LayerBorder{Border::kHaloX, layer + 1};
    default:
      return std::nullopt;
  }
}

Lane lane_of(const Operation& message) {
  if (message.phase == Phase::kBackward) return Lane::kGradient;
  return message.chunk == 0 ? Lane::kCarried : Lane::kForward;
}

int ScheduleShape::rank_of(int64_t micro_batch, int64_t chunk) const {
  int64_t dealt = chunk;
  for (int64_t s = 0; s < micro_batch; ++s) {
    dealt += static_cast<int64_t>(micro_batches[s].size());
  }
  return static_cast<int>(dealt % ranks);
}

int64_t ScheduleShape::bytes(int64_t micro_batch, LayerBorder b) const {
  return micro_batches[micro_batch].front().members *
         layers[b.layer].bytes(b.border);
}

bool ScheduleShape::crosses(int64_t micro_batch, int64_t chunk,
                            LayerBorder b) const {
  const MicroBatchShape& chunks = micro_batches[micro_batch];
  if (chunk <= 0 || chunk >= static_cast<int64_t>(chunks.size())) return false;
  return bytes(micro_batch, b) > 0 && chunks[chunk].takes(b.border);
}

bool ScheduleShape::keeps(int64_t micro_batch, int64_t chunk,
                          LayerBorder b) const {
  const auto chunks = static_cast<int64_t>(micro_batches[micro_batch].size());
  if (b.layer == 0 && b.border == Border::kHaloX) return false;
  return keeps_borders && chunk + 1 == chunks && bytes(micro_batch, b) > 0;
}

bool ScheduleShape::continues(int64_t micro_batch, LayerBorder b) const {
  if (b.layer == 0 && b.border == Border::kHaloX) return false;
  return bytes(micro_batch, b) > 0 &&
         micro_batches[micro_batch].front().takes(b.border);
}

int ScheduleShape::carried_rank(int64_t micro_batch) const {
  return carried_from.empty() ? rank_of(micro_batch, 0)
                              : carried_from[micro_batch];
}

std::vector<int> ranks_of_last_chunks(const ScheduleShape& shape) {
  std::vector<int> ranks;
  for (int64_t s = 0; s < std::ssize(shape.micro_batches); ++s) {
    ranks.push_back(shape.rank_of(s, std::ssize(shape.micro_batches[s]) - 1));
  }
  return ranks;
}

bool ScheduleShape::gradient_crosses(int64_t micro_batch, int64_t chunk,
                                     LayerBorder b) const {
  return crosses(micro_batch, chunk, b) &&
         !micro_batches[micro_batch][chunk].detached;
}

int64_t ScheduleShape::price(Phase phase, Part part, int64_t layer,
                             int64_t micro_batch, int64_t chunk) const {
  const ChunkShape& shape = micro_batches[micro_batch][chunk];
  const int64_t tokens = shape.members * shape.tokens;
  if (part == Part::kEmbed) return embed_price * tokens;
  if (part == Part::kHead) return head_price * tokens;
  const LayerShape& l = layers[layer];
  const auto& prices = phase == Phase::kBackward ? l.backward : l.forward;
  return prices[static_cast<int>(part)] * tokens;
}

namespace {

void require_size(const char* name, int64_t size, int64_t least) {
  if (size >= least) return;
  throw InvalidArgument(std::string("schedule: ") + name + ": " +
                        std::to_string(size) + ", expected at least " +
                        std::to_string(least));
}

void require_sizes(const char* name, std::span<const int64_t> sizes) {
  for (const int64_t size : sizes) require_size(name, size, 0);
}

void require_carried(const ScheduleShape& shape) {
  require(shape.carried_from.size() == shape.micro_batches.size(),
          "schedule: carried_from: ", shape.carried_from.size(),
          " ranks, expected one for each of ", shape.micro_batches.size(),
          " micro-batches");
  for (const int rank : shape.carried_from) {
    require(rank >= 0 && rank < shape.ranks, "schedule: carried_from: ", rank,
            ", expected [0,", shape.ranks, ")");
  }
}

void require_valid(const ScheduleShape& shape) {
  require_size("ranks", shape.ranks, 1);
  require_size("layers", static_cast<int64_t>(shape.layers.size()), 1);
  for (const LayerShape& layer : shape.layers) {
    require_sizes("border_bytes", layer.border_bytes);
    require_sizes("forward price", layer.forward);
    require_sizes("backward price", layer.backward);
  }
  for (const MicroBatchShape& micro_batch : shape.micro_batches) {
    require_size("chunks of a micro-batch",
                 static_cast<int64_t>(micro_batch.size()), 1);
    for (const ChunkShape& chunk : micro_batch) {
      require_size("tokens of a chunk", chunk.tokens, 0);
      require_size("sequences of a chunk", chunk.members, 1);
      require(chunk.members == micro_batch.front().members,
              "schedule: sequences of a chunk: ", chunk.members,
              ", expected those of the ", "first chunk, ",
              micro_batch.front().members);
    }
  }
  if (!shape.carried_from.empty()) require_carried(shape);
  require_size("hot_rounds", shape.hot_rounds, 0);
  require_size("embed_price", shape.embed_price, 0);
  require_size("head_price", shape.head_price, 0);
  require_size("message_price", shape.message_price, 0);
}

}  // namespace

std::vector<OperationList> make_schedule(const ScheduleShape& shape) {
  require_valid(shape);
  std::vector<OperationList> lists = ScheduleSimulation(shape).run();
  add_messages(shape, lists);
  return lists;
}

}  // namespace timepipe
