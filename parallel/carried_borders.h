#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <tuple>
#include <vector>

#include "parallel/chunk_program.h"

namespace timepipe {

// The borders that micro-batches carry from one run of a schedule to the next,
// without gradient: what the last chunk of a micro-batch would give to a next
// one, for the first chunk of the same micro-batch in the next run.
//
// A border stays on the time rank that computed it, that of the last chunk,
// until a run has replaced it: operations of each run's list bring it to the
// rank of the first chunk. All time ranks know of all borders where they lie.
class CarriedBorders {
 public:
  struct Entry {
    int64_t micro_batch;  // among those of these time ranks
    LayerBorder border;
    int rank;      // that has it
    Tensor value;  // only there
  };

  // For ScheduleShape::carried_from.
  std::vector<int> ranks(int64_t micro_batches) const;
  // What the first chunk of a micro-batch takes; on the rank that has it.
  const Tensor& of(int64_t micro_batch, LayerBorder border) const;
  // At the end of a run whose shape keeps borders; `take` gives one that this
  // rank has computed.
  using Take = std::function<Tensor(int64_t micro_batch, LayerBorder border)>;
  void keep(const ScheduleShape& shape, int rank, const Take& take);
  // The next run goes on from what was kept last.
  void advance();
  // It goes on from what the last one went on from: nothing was kept.
  void discard();

  // What the next run goes on from, in the order of micro-batches and layers.
  std::vector<Entry> entries() const;
  void set(std::vector<Entry> entries);

 private:
  using Key = std::tuple<int64_t, int64_t, Border>;  // micro-batch, layer
  static Key key(int64_t micro_batch, LayerBorder border) {
    return {micro_batch, border.layer, border.border};
  }

  std::map<Key, Entry> taken_, kept_;  // by the next run, by the last
};

}  // namespace timepipe
