#include "parallel/virtual_clock.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <unordered_map>

#include "runtime/error.h"

// Nothing here knows how lists are made: each operation is checked against what
// a chunk, a border and a slab are, then it takes its time.

namespace timepipe {
namespace {

using Kind = Operation::Kind;

constexpr char kMiscounted[] = "its number isn't its place in its direction";
constexpr char kDisordered[] = "receives are in another order than the sends";

std::string to_string(const Operation& op) {
  std::string text;
  if (op.kind == Kind::kCompute) {
    text = std::string(name_of(op.phase)) + " " + name_of(op.part);
  } else {
    text = op.kind == Kind::kSend ? "send of " : "receive of ";
    if (op.phase == Phase::kBackward) text += "gradient of ";
    text += name_of(op.border);
  }
  return text + " of layer " + std::to_string(op.layer) + ", chunk " +
         std::to_string(op.chunk) + ", sequence " + std::to_string(op.sequence);
}

// A border between two chunks, or its gradient.
struct Crossing {
  int64_t sequence, right;  // chunk on the right
  LayerBorder border;
  bool gradient;

  int64_t from() const { return gradient ? right : right - 1; }
  int64_t to() const { return gradient ? right - 1 : right; }
};

Crossing crossing_of(const Operation& message) {
  return {message.sequence,
          message.chunk,
          {message.border, message.layer},
          message.phase == Phase::kBackward};
}

class VirtualClock {
 public:
  VirtualClock(const ScheduleShape& shape,
               const std::vector<OperationList>& lists,
               const MessageDelay& delay);
  Timeline run();

 private:
  struct Message {
    const Operation* send = nullptr;
    const Operation* receive = nullptr;
    int64_t arrival = 0;
    bool read = false;
    int waiting = -1;  // rank that can't go on without it
  };
  struct Rank {
    size_t next = 0;  // in its list
    int64_t time = 0;
    int64_t slabs_held = 0;
    int64_t sent[2] = {0, 0}, receives[2] = {0, 0};  // forward, gradient
    std::unordered_map<int32_t, int64_t> holder;     // slab -> chunk
  };

  bool step(int r, const Operation& op);  // false: it must wait
  bool compute(int r, const Operation& op);
  void send(int r, const Operation& op);
  void receive(int r, const Operation& op);

  void check_exists(int r, const Operation& op) const;
  void check_order(int r, const Operation& op) const;
  void check_message(int r, const Operation& op) const;
  void check_all_read() const;
  bool take_input(int r, const Operation& op);
  void hold_slab(int r, const Operation& op);
  void release_slab(int r, const Operation& op);

  bool crosses(const Crossing& x) const;
  bool is_produced(const Crossing& x) const;
  std::optional<Crossing> input_of(const Operation& op) const;

  // Chunks are numbered over all sequences, a chunk's parts in forward order.
  int64_t chunk_id(int64_t sequence, int64_t chunk) const {
    return first_chunk_[sequence] + chunk;
  }
  int rank_of(int64_t sequence, int64_t chunk) const {
    return static_cast<int>(chunk_id(sequence, chunk) % shape_.ranks);
  }
  int64_t num_layers() const { return std::ssize(shape_.layers); }
  int64_t head() const { return 1 + 4 * num_layers(); }
  int64_t place(Part part, int64_t layer) const;
  size_t done_index(int64_t sequence, int64_t chunk, Phase phase,
                    int64_t place) const;
  size_t message_index(const Crossing& x) const;

  [[noreturn]] void fail(int r, const Operation& op,
                         const std::string& what) const {
    throw InvalidArgument("virtual clock: rank " + std::to_string(r) + ": " +
                          to_string(op) + ": " + what);
  }
  void check(int r, const Operation& op, bool holds, const char* what) const {
    if (!holds) fail(r, op, what);
  }

  const ScheduleShape& shape_;
  const std::vector<OperationList>& lists_;
  const MessageDelay& delay_;
  std::vector<int64_t> first_chunk_{0};  // of each sequence, and the end
  std::vector<uint8_t> done_;
  std::vector<Message> messages_;
  std::vector<Rank> ranks_;
  std::vector<int> runnable_;
  Timeline timeline_;
};

VirtualClock::VirtualClock(const ScheduleShape& shape,
                           const std::vector<OperationList>& lists,
                           const MessageDelay& delay)
    : shape_(shape), lists_(lists), delay_(delay), ranks_(lists.size()) {
  require(static_cast<int64_t>(lists.size()) == shape.ranks,
          "virtual clock: " + std::to_string(lists.size()) +
              " lists, expected " + std::to_string(shape.ranks));
  for (const SequenceShape& sequence : shape.sequences) {
    first_chunk_.push_back(first_chunk_.back() + std::ssize(sequence));
  }
  done_.resize(first_chunk_.back() * 3 * (head() + 1));
  messages_.resize(first_chunk_.back() * num_layers() * kBorders * 2);
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
      fail(r, lists_[r][rank.next], "deadlock, what it reads isn't sent");
    }
    timeline_.makespan = std::max(timeline_.makespan, rank.time);
  }
  check_all_read();
  return timeline_;
}

bool VirtualClock::step(int r, const Operation& op) {
  check_exists(r, op);
  switch (op.kind) {
    case Kind::kCompute:
      return compute(r, op);
    case Kind::kSend:
      send(r, op);
      break;
    case Kind::kReceive:
      receive(r, op);
  }
  return true;
}

bool VirtualClock::compute(int r, const Operation& op) {
  check_order(r, op);
  if (!take_input(r, op)) return false;
  hold_slab(r, op);
  const int64_t price =
      shape_.price(op.phase, op.part, op.layer, op.sequence, op.chunk);
  ranks_[r].time += price;
  timeline_.busy[r] += price;
  done_[done_index(op.sequence, op.chunk, op.phase, place(op.part, op.layer))] =
      1;
  release_slab(r, op);
  return true;
}

void VirtualClock::send(int r, const Operation& op) {
  const Crossing x = crossing_of(op);
  check_message(r, op);
  check(r, op, rank_of(x.sequence, x.from()) == r, "border of another rank");
  check(r, op, rank_of(x.sequence, x.to()) == op.peer, "wrong peer");
  check(r, op, is_produced(x), "sent before it is computed");
  Message& m = messages_[message_index(x)];
  check(r, op, m.send == nullptr, "sent twice");
  check(r, op, op.number == ranks_[r].sent[x.gradient]++, kMiscounted);
  const int64_t delay = delay_ ? delay_(r, op) : shape_.message_price;
  check(r, op, delay >= 0, "arrives before it is sent");
  m.send = &op;
  m.arrival = ranks_[r].time + delay;
  timeline_.bytes_sent[r] += op.bytes;
  if (m.waiting >= 0) runnable_.push_back(m.waiting);
}

void VirtualClock::receive(int r, const Operation& op) {
  const Crossing x = crossing_of(op);
  check_message(r, op);
  check(r, op, rank_of(x.sequence, x.to()) == r, "border of another rank");
  check(r, op, rank_of(x.sequence, x.from()) == op.peer, "wrong peer");
  Message& m = messages_[message_index(x)];
  check(r, op, m.receive == nullptr, "received twice");
  check(r, op, op.number == ranks_[r].receives[x.gradient]++, kMiscounted);
  m.receive = &op;
}

// Checks ---------------------------------------------------------------------

void VirtualClock::check_exists(int r, const Operation& op) const {
  const bool sequence =
      op.sequence >= 0 && op.sequence < std::ssize(shape_.sequences);
  check(r, op, sequence, "no such sequence");
  const int64_t chunks = std::ssize(shape_.sequences[op.sequence]);
  check(r, op, op.chunk >= 0 && op.chunk < chunks, "no such chunk");
  check(r, op, op.layer >= 0 && op.layer < num_layers(), "no such layer");
}

// What the chunk itself must have been through.
void VirtualClock::check_order(int r, const Operation& op) const {
  const int64_t here = place(op.part, op.layer);
  const auto done = [&](Phase phase, int64_t place) {
    return done_[done_index(op.sequence, op.chunk, phase, place)] != 0;
  };
  check(r, op, rank_of(op.sequence, op.chunk) == r, "chunk of another rank");
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

void VirtualClock::check_message(int r, const Operation& op) const {
  const Crossing x = crossing_of(op);
  check(r, op, crosses(x), "nothing crosses there");
  check(r, op, op.peer != r, "message to itself");
  check(r, op, op.bytes == shape_.bytes(x.border), "wrong size");
}

void VirtualClock::check_all_read() const {
  for (const Message& m : messages_) {
    if (m.send == nullptr && m.receive == nullptr) continue;
    const Operation& op = m.send != nullptr ? *m.send : *m.receive;
    const Crossing x = crossing_of(op);
    const int r = rank_of(x.sequence, m.send != nullptr ? x.from() : x.to());
    check(r, op, m.send != nullptr, "never sent");
    check(r, op, m.receive != nullptr, "never received");
    check(r, op, m.read, "never read");
    check(r, op, m.send->number == m.receive->number, kDisordered);
  }
}

// Inputs and slabs -----------------------------------------------------------

// Whether the border that the part reads is here; waits for its message.
bool VirtualClock::take_input(int r, const Operation& op) {
  const auto x = input_of(op);
  if (!x) return true;
  if (rank_of(x->sequence, x->from()) == r) {
    check(r, op, is_produced(*x), "its neighbour's border isn't here yet");
    return true;
  }
  Message& m = messages_[message_index(*x)];
  check(r, op, m.receive != nullptr, "reads what no receive was posted for");
  if (m.send == nullptr) {
    m.waiting = r;
    return false;
  }
  m.read = true;
  ranks_[r].time = std::max(ranks_[r].time, m.arrival);
  return true;
}

void VirtualClock::hold_slab(int r, const Operation& op) {
  const bool slab = op.slab >= 0 && op.slab < shape_.num_slabs();
  check(r, op, slab || op.slab == kColdSlab, "no such slab");
  check(r, op, slab || op.phase == Phase::kForward, "needs a slab");
  Rank& rank = ranks_[r];
  const int64_t chunk = chunk_id(op.sequence, op.chunk);
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

// What crosses ---------------------------------------------------------------

bool VirtualClock::crosses(const Crossing& x) const {
  return x.gradient ? shape_.gradient_crosses(x.sequence, x.right, x.border)
                    : shape_.crosses(x.sequence, x.right, x.border);
}

// The part that a border comes out of has run: forward on its left, and for its
// gradient backward on its right the part that has read it.
bool VirtualClock::is_produced(const Crossing& x) const {
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
  return done_[done_index(x.sequence, x.from(), phase, place_of)] != 0;
}

std::optional<Crossing> VirtualClock::input_of(const Operation& op) const {
  if (op.phase == Phase::kRecompute) return std::nullopt;  // It was kept.
  const bool gradient = op.phase == Phase::kBackward;
  const auto border = gradient ? border_out(op.part, op.layer, num_layers())
                               : border_in(op.part, op.layer);
  if (!border) return std::nullopt;
  const Crossing x = {op.sequence, gradient ? op.chunk + 1 : op.chunk, *border,
                      gradient};
  if (!crosses(x)) return std::nullopt;
  return x;
}

int64_t VirtualClock::place(Part part, int64_t layer) const {
  if (part == Part::kEmbed) return 0;
  if (part == Part::kHead) return head();
  return 1 + 4 * layer + static_cast<int>(part) - static_cast<int>(Part::kConv);
}

size_t VirtualClock::done_index(int64_t sequence, int64_t chunk, Phase phase,
                                int64_t place) const {
  return (chunk_id(sequence, chunk) * 3 + static_cast<int>(phase)) *
             (head() + 1) +
         place;
}

size_t VirtualClock::message_index(const Crossing& x) const {
  const int64_t layer =
      chunk_id(x.sequence, x.right) * num_layers() + x.border.layer;
  return (layer * kBorders + static_cast<int>(x.border.border)) * 2 +
         (x.gradient ? 1 : 0);
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
                           const MessageDelay& delay) {
  return VirtualClock(shape, lists, delay).run();
}

}  // namespace timepipe
