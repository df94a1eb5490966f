#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <queue>
#include <utility>
#include <vector>

#include "parallel/schedule.h"
#include "parallel/visit.h"

namespace timepipe {

// The order of work in make_schedule(): the ranks are simulated with the prices
// of the shape; what a rank starts, in the order in which it starts it, is its
// list of computes and sends. Borders that are carried are taken to be there.
//
// The wavefront. Consecutive chunks are on consecutive ranks, and a rank takes
// a chunk through all layers before its next one. So what a layer's scan of a
// chunk leaves behind reaches the neighbour just when that comes to the layer
// (3 ranks, 4 layers, 6 chunks; c.l: chunk, layer; time goes to the right):
//
//   rank 0   0.0 0.1 0.2 0.3 3.0 3.1 3.2 3.3
//   rank 1       1.0 1.1 1.2 1.3 4.0 4.1 4.2 4.3
//   rank 2           2.0 2.1 2.2 2.3 5.0 5.1 5.2 5.3
//
// and, last chunk first, the same way back. Lists cannot deadlock: the
// simulation is one run of them, so their order agrees with all dependencies,
// and real work and messages, whatever they take, have the same dependencies.
class ScheduleSimulation {
 public:
  explicit ScheduleSimulation(const ScheduleShape& shape);
  std::vector<OperationList> run();  // add_messages() completes the lists

 private:
  static constexpr int64_t kNothing = -1;

  // Chunks are named by their place in the deal, over all micro-batches: chunk
  // c is on rank c mod ranks, and so is c + ranks, the rank's next one.
  struct Chunk {
    int32_t micro_batch, chunk;
    bool hot;                      // keeps its activations
    int32_t slab = kColdSlab;      // a slab from take_slab() until the end
    bool has_activations = false;  // the slab is filled
    bool done = false;             // no visit is left
    // The visit that is open, or was last; one at a time.
    Phase phase = Phase::kForward;
    const Visit* visit = nullptr;
    size_t position = 0;        // next work of the visit
    int64_t awaits = kNothing;  // slot of the message that this waits for
  };

  struct Rank {
    OperationList list;
    OperationList carried_sends;  // before all others
    bool busy = false;
    bool touched = false;  // in touched_
    int64_t forward = 0;   // chunk whose forward visit is open or opens next
    bool forward_open = false, recompute_open = false;
    // Chunks in the order in which they take a slab, and how many have.
    std::vector<int64_t> slab_order;
    size_t slabs_taken = 0;
    std::vector<int32_t> returned_slabs;
    int32_t unused_slab = 0;  // the first that was never taken
    // Open visits that wait for nothing but the rank: urgency, chunk.
    using Ready = std::pair<int, int64_t>;
    std::priority_queue<Ready, std::vector<Ready>, std::greater<>> ready;
  };

  // A border, or its gradient, on its way between chunks of different ranks.
  struct Message {
    LayerBorder border;
    int64_t from, to;  // chunks

    bool gradient() const { return from > to; }
    int64_t right() const { return std::max(from, to); }
  };

  // Something that happens to a chunk at a time: a message for it arrives, or
  // its work ends.
  struct Event {
    int64_t time;
    int64_t count;  // of the events before; breaks ties
    int64_t chunk;
    int64_t arrived;  // slot of the message, or kNothing

    bool operator>(const Event& other) const {
      return std::pair(time, count) > std::pair(other.time, other.count);
    }
  };

  void deal(const MicroBatchShape& micro_batch);

  // Rules: when a visit opens and what it needs to.
  void open_forward(Rank& rank);
  void open_recompute(Rank& rank);
  void open_backward(int64_t c);
  bool take_slab(Rank& rank, int64_t c);
  const Visit& visit_of(const Chunk& chunk, Phase phase) const;
  void open(int64_t c, Phase phase);
  void close(int64_t c);

  // Time: what happens while visits are open.
  void await_input(int64_t c);
  void start_work();
  void start(Rank& rank, int64_t c);
  void take_events();
  void end_work(int64_t c);
  void touch(Rank& rank);

  // Messages and lists.
  std::optional<Message> message(std::optional<LayerBorder> border,
                                 int64_t from, int64_t to) const;
  std::optional<Message> read_by(int64_t c) const;
  std::optional<Message> given_by(int64_t c) const;
  int64_t slot(const Message& message) const;
  void append_compute(int64_t c);
  void append_send(const Message& message, Part part);
  void append_carried_send(int64_t c);

  int64_t price(const Chunk& chunk) const;
  int64_t num_chunks() const { return static_cast<int64_t>(chunks_.size()); }
  int64_t num_layers() const {
    return static_cast<int64_t>(shape_.layers.size());
  }
  bool same_micro_batch(int64_t a, int64_t b) const {
    return a >= 0 && b < num_chunks() &&
           chunks_[a].micro_batch == chunks_[b].micro_batch;
  }
  Rank& rank_of(int64_t c) { return ranks_[c % shape_.ranks]; }

  const ScheduleShape& shape_;
  const Visit cold_forward_, hot_forward_, recompute_, backward_, inference_;
  std::vector<Chunk> chunks_;
  std::vector<Rank> ranks_;
  std::vector<uint8_t> arrived_;  // by slot
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  int64_t num_events_ = 0;
  int64_t now_ = 0;
  std::vector<Rank*> touched_;  // where work may start
};

}  // namespace timepipe
