#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "kernels/segment.h"
#include "parallel/gradient_sum.h"
#include "parallel/schedule.h"
#include "runtime/context.h"

namespace timepipe {

// Where a chunk lies in its micro-batch: sequences that run side by side.
struct ChunkView {
  int64_t micro_batch, chunk;
  int64_t first;      // first token in each sequence
  ChunkRows rows;     // of the sequences in the chunk's tensors
  Segments segments;  // pieces of documents inside the chunk
  bool detached;      // no gradient goes to the chunk before it
  // Only in decoding: the tokens lie in one mini-batch of the inner learner,
  // from this place of it on, and needn't fill it.
  std::optional<int64_t> place = {};
};

// What the executor asks of a model: run one part of one layer on one chunk. A
// slab is a place for the activations of one chunk: one of num_slabs slabs that
// hold all layers, or kColdSlab, which holds one layer, reused by the next.
// Borders are tensors as make_border() makes them; an empty one means that the
// border isn't there: nothing comes in (the document or the state starts in
// this chunk; the gradient is zero) or nobody wants what would go out.
class ChunkProgram {
 public:
  virtual ~ChunkProgram() = default;

  // Takes the memory of all slabs, for chunks of up to so many sequences and
  // tokens of each.
  virtual void reserve_slabs(Context& ctx, int64_t num_slabs, int64_t members,
                             int64_t tokens) = 0;
  virtual ChunkView view(int64_t micro_batch, int64_t chunk) const = 0;
  // A place for a border of a micro-batch or its gradient, of
  // ScheduleShape::bytes(), in MemoryUse::kBorders; the elements are yet to be
  // written.
  virtual Tensor make_border(Context& ctx, int64_t micro_batch,
                             LayerBorder border) const = 0;

  // Repeating it gives the same bits: recomputation relies on it.
  virtual void forward(Context& ctx, Part part, int64_t layer,
                       const ChunkView& view, int slab, const Tensor& border_in,
                       Tensor& border_out) = 0;

  // `border_in` as in the forward; `dborder_out`: gradient of what went out;
  // `dborder_in`: gradient of what came in, overwritten.
  virtual void backward(Context& ctx, Part part, int64_t layer,
                        const ChunkView& view, int slab,
                        const Tensor& border_in, const Tensor& dborder_out,
                        Tensor& dborder_in, GradientSum& gradients) = 0;
};

}  // namespace timepipe
