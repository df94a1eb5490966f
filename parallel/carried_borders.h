#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <tuple>
#include <vector>

#include "parallel/chunk_program.h"

namespace timepipe {

// The borders that sequences carry from one run of a schedule to the next,
// without gradient: what the last chunk of a sequence would give to a next one,
// for the first chunk of the same sequence in the next run.
//
// A border stays on the time rank that computed it, that of the last chunk,
// until a run has replaced it: operations of each run's list bring it to the
// rank of the first chunk. All time ranks know of all borders where they lie.
class CarriedBorders {
 public:
  struct Entry {
    int64_t sequence;  // among those of these time ranks
    LayerBorder border;
    int rank;      // that has it
    Tensor value;  // only there
  };

  // For ScheduleShape::carried_from.
  std::vector<int> ranks(int64_t sequences) const;
  // What the first chunk of a sequence takes; on the rank that has it.
  const Tensor& of(int64_t sequence, LayerBorder border) const;
  // At the end of a run whose shape keeps borders; `take` gives one that this
  // rank has computed.
  using Take = std::function<Tensor(int64_t sequence, LayerBorder border)>;
  void keep(const ScheduleShape& shape, int rank, const Take& take);
  // The next run goes on from what was kept last.
  void advance();
  // It goes on from what the last one went on from: nothing was kept.
  void discard();

  // What the next run goes on from, in the order of sequences and layers.
  std::vector<Entry> entries() const;
  void set(std::vector<Entry> entries);

 private:
  using Key = std::tuple<int64_t, int64_t, Border>;  // sequence, layer
  static Key key(int64_t sequence, LayerBorder border) {
    return {sequence, border.layer, border.border};
  }

  std::map<Key, Entry> taken_, kept_;  // by the next run, by the last
};

}  // namespace timepipe
