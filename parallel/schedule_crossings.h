#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "parallel/schedule.h"

namespace timepipe {

// A border between two chunks, or its gradient; or what the run before kept for
// a first chunk.
struct Crossing {
  int64_t micro_batch, right;  // chunk on the right; 0: of the run before
  LayerBorder border;
  bool gradient;

  bool carried() const { return right == 0; }
  int64_t from() const { return gradient ? right : right - 1; }
  int64_t to() const { return gradient ? right - 1 : right; }
};

Crossing crossing_of(const Operation& message);

// What crosses borders in a shape, which it doesn't keep, and between which
// ranks.
class Crossings {
 public:
  explicit Crossings(const ScheduleShape& shape);

  // Chunks are numbered over all micro-batches.
  int64_t num_chunks() const { return first_chunk_.back(); }
  int64_t chunk_id(int64_t micro_batch, int64_t chunk) const {
    return first_chunk_[micro_batch] + chunk;
  }
  int rank_of(int64_t micro_batch, int64_t chunk) const {
    return static_cast<int>(chunk_id(micro_batch, chunk) % shape_.ranks);
  }

  // The ranks that have it and that read it: a message if they differ.
  int giver(const Crossing& x) const;
  int reader(const Crossing& x) const { return rank_of(x.micro_batch, x.to()); }
  bool exists(const Crossing& x) const;
  // What a compute operation reads; a recomputation, only what was kept.
  std::optional<Crossing> read_by(const Operation& compute) const;

  // A place for each in a table of size().
  std::size_t size() const;
  std::size_t index(const Crossing& x) const;

 private:
  int64_t num_layers() const { return std::ssize(shape_.layers); }

  const ScheduleShape& shape_;
  std::vector<int64_t> first_chunk_{0};  // of each micro-batch, and the end
};

}  // namespace timepipe
