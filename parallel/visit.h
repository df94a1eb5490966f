#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "parallel/schedule.h"

namespace timepipe {

// One compute operation of a visit, and the borders that it reads and gives if
// the neighbouring chunk has them or wants them; gradients of them if backward.
struct Work {
  Part part;
  int64_t layer;  // 0 for kEmbed and kHead
  std::optional<LayerBorder> reads, gives;
};

// All that a chunk does from the moment when it is opened until its rank leaves
// it, in order.
using Visit = std::vector<Work>;

// The visits of a training step, and the only one of a step without training.
// A cold chunk's forward visit gives all that the next chunk needs and no more;
// its recomputation, from kept borders, is complete.
Visit cold_forward_visit(int64_t layers);
Visit hot_forward_visit(int64_t layers);
Visit recompute_visit(int64_t layers);
Visit backward_visit(int64_t layers);
Visit inference_visit(int64_t layers);

}  // namespace timepipe
