#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "parallel/schedule.h"
#include "parallel/virtual_clock.h"

// Shapes that the tests of schedule and virtual clock share.

namespace timepipe {

inline constexpr int kScanIndex = static_cast<int>(Part::kScan);

inline constexpr LaneRule kLaneRules[] = {LaneRule::kFree, LaneRule::kHolding,
                                          LaneRule::kOneOutstanding};

// One document of equal chunks of one token.
inline MicroBatchShape document(int64_t chunks) {
  MicroBatchShape micro_batch(chunks, {.tokens = 1,
                                       .takes_state = true,
                                       .takes_halo = true,
                                       .detached = false});
  micro_batch.front().takes_state = micro_batch.front().takes_halo = false;
  return micro_batch;
}

// One document whose layers cost 1 forward and 2 backward, all in the scan.
inline ScheduleShape whole_layers(int ranks, int64_t layers, int64_t chunks,
                                  int64_t hot_rounds, bool training = true) {
  LayerShape layer;
  layer.border_bytes = {24, 40, 1000};
  layer.forward[kScanIndex] = 1;
  layer.backward[kScanIndex] = 2;
  ScheduleShape shape;
  shape.ranks = ranks;
  shape.layers.assign(layers, layer);
  shape.micro_batches = {document(chunks)};
  shape.hot_rounds = hot_rounds;
  shape.training = training;
  return shape;
}

// Small shapes with everything random: flags, sizes, prices, borders.
class RandomShapes {
 public:
  explicit RandomShapes(uint32_t seed) : engine_(seed) {}

  int64_t number(int64_t least, int64_t most) {
    return least + static_cast<int64_t>(engine_() % (most - least + 1));
  }
  bool chance(int percent) { return number(1, 100) <= percent; }

  ScheduleShape next() {
    ScheduleShape shape;
    shape.ranks = static_cast<int>(number(1, 9));
    shape.hot_rounds = number(0, 5);
    shape.training = chance(85);
    shape.layers.resize(number(1, 4));
    shape.micro_batches.resize(number(1, 4));
    const bool equal_layers = chance(50);
    for (LayerShape& layer : shape.layers) {
      for (int64_t& bytes : layer.border_bytes) bytes = 8 * number(0, 3);
      if (equal_layers) layer.border_bytes = shape.layers[0].border_bytes;
    }
    for (MicroBatchShape& micro_batch : shape.micro_batches) {
      micro_batch.resize(number(1, 12));
      for (ChunkShape& chunk : micro_batch) {
        chunk = {.tokens = chance(70) ? 8 : number(0, 8),
                 .takes_state = chance(85),
                 .takes_halo = chance(85),
                 .detached = chance(10)};
      }
    }
    draw_prices(shape);
    return shape;
  }

  // What first chunks continue lies anywhere, and last chunks leave it.
  void draw_carried(ScheduleShape& shape) {
    shape.keeps_borders = chance(50);
    for (MicroBatchShape& micro_batch : shape.micro_batches) {
      shape.carried_from.push_back(
          static_cast<int>(number(0, shape.ranks - 1)));
      if (!chance(50)) continue;
      micro_batch.front().takes_state = micro_batch.front().takes_halo = true;
    }
  }

  void draw_prices(ScheduleShape& shape) {
    for (LayerShape& layer : shape.layers) {
      for (int64_t& price : layer.forward) price = number(0, 4);
      for (int64_t& price : layer.backward) price = number(0, 9);
    }
    shape.embed_price = number(0, 2);
    shape.head_price = number(0, 5);
    shape.message_price = chance(50) ? number(0, 3) : number(0, 300);
  }

 private:
  std::mt19937 engine_;
};

}  // namespace timepipe
