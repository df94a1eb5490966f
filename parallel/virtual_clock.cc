#include "parallel/virtual_clock.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <unordered_map>

#include "parallel/schedule_crossings.h"
#include "parallel/virtual_lanes.h"
#include "runtime/error.h"

// Nothing here knows how lists are made: each operation is checked against what
// a chunk, a border and a slab are, then it takes its time.

namespace timepipe {
namespace {

using Kind = Operation::Kind;

class VirtualClock {
 public:
  VirtualClock(const ScheduleShape& shape,
               const std::vector<OperationList>& lists,
               const MessageDelay& delay, LaneRule rule);
  Timeline run();

 private:
  struct Rank {
    size_t next = 0;  // in its list
    int64_t time = 0;
    int64_t slabs_held = 0;
    std::unordered_map<int32_t, int64_t> holder;  // slab -> chunk
  };

  bool step(int r, const Operation& op);  // false: it must wait
  bool compute(int r, const Operation& op);
  void send(int r, const Operation& op);

  void check_exists(int r, const Operation& op) const;
  void check_order(int r, const Operation& op) const;
  bool take_input(int r, const Operation& op);
  void hold_slab(int r, const Operation& op);
  void release_slab(int r, const Operation& op);

  bool is_produced(const Crossing& x) const;

  // A chunk's parts are numbered in forward order.
  int64_t num_layers() const { return std::ssize(shape_.layers); }
  int64_t head() const { return 1 + 4 * num_layers(); }
  int64_t place(Part part, int64_t layer) const;
  size_t done_index(int64_t micro_batch, int64_t chunk, Phase phase,
                    int64_t place) const;

  const ScheduleShape& shape_;
  const std::vector<OperationList>& lists_;
  const MessageDelay& delay_;
  const Crossings crossings_;
  std::vector<int> runnable_;
  VirtualLanes lanes_;
  std::vector<uint8_t> done_;
  std::vector<Rank> ranks_;
  Timeline timeline_;
};

VirtualClock::VirtualClock(const ScheduleShape& shape,
                           const std::vector<OperationList>& lists,
                           const MessageDelay& delay, LaneRule rule)
    : shape_(shape),
      lists_(lists),
      delay_(delay),
      crossings_(shape),
      lanes_(shape, crossings_, rule, runnable_),
      ranks_(lists.size()) {
  require(static_cast<int64_t>(lists.size()) == shape.ranks,
          "virtual clock: ", lists.size(), " lists, expected ", shape.ranks);
  done_.resize(crossings_.num_chunks() * 3 * (head() + 1));
  timeline_.busy.resize(lists.size());
  timeline_.peak_slabs.resize(lists.size());
  timeline_.bytes_sent.resize(lists.size());
}

// A rank's time depends on what it receives and not on when it is looked at
// here: each runs until it lacks a message, in any order.
Timeline VirtualClock::run() {
  for (int r = 0; r < shape_.ranks; ++r) runnable_.push_back(r);
  while (!runnable_.empty()) {
    const int r = runnable_.back();
    runnable_.pop_back();
    size_t& next = ranks_[r].next;
    while (next < lists_[r].size() && step(r, lists_[r][next])) ++next;
  }
  for (int r = 0; r < shape_.ranks; ++r) {
    const Rank& rank = ranks_[r];
    if (rank.next < lists_[r].size()) {
      refuse(r, lists_[r][rank.next], "deadlock, what it reads doesn't arrive");
    }
    timeline_.makespan = std::max(timeline_.makespan, rank.time);
  }
  lanes_.check_all_read();
  return timeline_;
}

bool VirtualClock::step(int r, const Operation& op) {
  check_exists(r, op);
  if (op.kind != Kind::kCompute) lanes_.check_fits(r, op);
  switch (op.kind) {
    case Kind::kCompute:
      return compute(r, op);
    case Kind::kSend:
      send(r, op);
      break;
    case Kind::kReceive:
      lanes_.receive(r, op, ranks_[r].time);
  }
  return true;
}

bool VirtualClock::compute(int r, const Operation& op) {
  check_order(r, op);
  if (!take_input(r, op)) return false;
  hold_slab(r, op);
  const int64_t price =
      shape_.price(op.phase, op.part, op.layer, op.micro_batch, op.chunk);
  ranks_[r].time += price;
  timeline_.busy[r] += price;
  done_[done_index(op.micro_batch, op.chunk, op.phase,
                   place(op.part, op.layer))] = 1;
  release_slab(r, op);
  return true;
}

void VirtualClock::send(int r, const Operation& op) {
  check(r, op, is_produced(crossing_of(op)), "sent before it is computed");
  const int64_t delay = delay_ ? delay_(r, op) : shape_.message_price;
  check(r, op, delay >= 0, "arrives before it is sent");
  timeline_.bytes_sent[r] += op.bytes;
  lanes_.send(r, op, ranks_[r].time, delay);
}

// Checks ---------------------------------------------------------------------

void VirtualClock::check_exists(int r, const Operation& op) const {
  const bool micro_batch =
      op.micro_batch >= 0 && op.micro_batch < std::ssize(shape_.micro_batches);
  check(r, op, micro_batch, "no such micro-batch");
  const int64_t chunks = std::ssize(shape_.micro_batches[op.micro_batch]);
  check(r, op, op.chunk >= 0 && op.chunk < chunks, "no such chunk");
  check(r, op, op.layer >= 0 && op.layer < num_layers(), "no such layer");
}

// What the chunk itself must have been through.
void VirtualClock::check_order(int r, const Operation& op) const {
  const int64_t here = place(op.part, op.layer);
  const auto done = [&](Phase phase, int64_t place) {
    return done_[done_index(op.micro_batch, op.chunk, phase, place)] != 0;
  };
  check(r, op, crossings_.rank_of(op.micro_batch, op.chunk) == r,
        "chunk of another rank");
  check(r, op, !done(op.phase, here), "computed twice");
  if (op.phase != Phase::kBackward) {
    check(r, op, here == 0 || done(op.phase, here - 1),
          "the part before it is missing");
  } else if (here < head()) {
    check(r, op, done(op.phase, here + 1), "the part after it is missing");
  } else {
    const int64_t last = head() - 1;
    check(r, op, done(Phase::kForward, last) || done(Phase::kRecompute, last),
          "activations are missing");
  }
  if (op.phase == Phase::kRecompute && border_in(op.part, op.layer)) {
    check(r, op, done(Phase::kForward, here), "its border isn't here yet");
  }
}

// Inputs and slabs -----------------------------------------------------------

// Whether the border that the part reads is here; waits for its message.
bool VirtualClock::take_input(int r, const Operation& op) {
  const auto x = crossings_.read_by(op);
  if (!x) return true;
  if (crossings_.giver(*x) == r) {
    check(r, op, is_produced(*x), "its neighbour's border isn't here yet");
    return true;
  }
  const auto arrival = lanes_.read(r, op, *x);
  if (!arrival) return false;
  ranks_[r].time = std::max(ranks_[r].time, *arrival);
  return true;
}

void VirtualClock::hold_slab(int r, const Operation& op) {
  const bool slab = op.slab >= 0 && op.slab < shape_.num_slabs();
  check(r, op, slab || op.slab == kColdSlab, "no such slab");
  check(r, op, slab || op.phase == Phase::kForward, "needs a slab");
  Rank& rank = ranks_[r];
  const int64_t chunk = crossings_.chunk_id(op.micro_batch, op.chunk);
  const auto [holder, is_new] = rank.holder.try_emplace(op.slab, chunk);
  check(r, op, holder->second == chunk, "its slab is held by another chunk");
  if (!is_new) return;
  check(r, op, op.part == Part::kEmbed && op.phase != Phase::kBackward,
        "its activations are not in this slab");
  if (!slab) return;
  ++rank.slabs_held;
  timeline_.peak_slabs[r] = std::max(timeline_.peak_slabs[r], rank.slabs_held);
}

// A slab is held until the chunk's last backward part, the cold slab until the
// last part that others read (or, without training, until the head).
void VirtualClock::release_slab(int r, const Operation& op) {
  const int64_t here = place(op.part, op.layer);
  if (op.slab == kColdSlab) {
    const int64_t last_scan = place(Part::kScan, num_layers() - 1);
    if (here != (shape_.training ? last_scan : head())) return;
  } else {
    if (op.phase != Phase::kBackward || here != 0) return;
    --ranks_[r].slabs_held;
  }
  ranks_[r].holder.erase(op.slab);
}

// The part that a border comes out of has run: forward on its left, and for its
// gradient backward on its right the part that has read it. What is carried is
// there from the run before.
bool VirtualClock::is_produced(const Crossing& x) const {
  if (x.carried()) return true;
  const int64_t l = x.border.layer;
  const Phase phase = x.gradient ? Phase::kBackward : Phase::kForward;
  int64_t place_of = 0;
  switch (x.border.border) {
    case Border::kHaloX:
      place_of = x.gradient ? place(Part::kConv, l) : place(Part::kConv, l) - 1;
      break;
    case Border::kHaloQk:
      place_of = place(x.gradient ? Part::kProject : Part::kConv, l);
      break;
    case Border::kState:
      place_of = place(Part::kScan, l);
  }
  return done_[done_index(x.micro_batch, x.from(), phase, place_of)] != 0;
}

int64_t VirtualClock::place(Part part, int64_t layer) const {
  if (part == Part::kEmbed) return 0;
  if (part == Part::kHead) return head();
  return 1 + 4 * layer + static_cast<int>(part) - static_cast<int>(Part::kConv);
}

size_t VirtualClock::done_index(int64_t micro_batch, int64_t chunk, Phase phase,
                                int64_t place) const {
  return (crossings_.chunk_id(micro_batch, chunk) * 3 +
          static_cast<int>(phase)) *
             (head() + 1) +
         place;
}

}  // namespace

double Timeline::efficiency() const {
  if (makespan == 0) return 1;  // Nothing to do: nothing lost.
  double work = 0;
  for (const int64_t b : busy) work += static_cast<double>(b);
  return work /
         (static_cast<double>(busy.size()) * static_cast<double>(makespan));
}

Timeline run_virtual_clock(const ScheduleShape& shape,
                           const std::vector<OperationList>& lists,
                           const MessageDelay& delay, LaneRule rule) {
  return VirtualClock(shape, lists, delay, rule).run();
}

}  // namespace timepipe
