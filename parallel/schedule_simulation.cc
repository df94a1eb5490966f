// Simulates the ranks of a step to decide the order of their work.

#include "parallel/schedule_simulation.h"

#include <glog/logging.h>

namespace timepipe {
namespace {

// Ready backward work goes first: it frees slabs. Then forward work: other
// ranks wait for it. Nobody waits for recomputation.
int urgency(Phase phase) {
  switch (phase) {
    case Phase::kBackward:
      return 0;
    case Phase::kForward:
      return 1;
    case Phase::kRecompute:
      break;
  }
  return 2;
}

}  // namespace

std::vector<OperationList> ScheduleSimulation::run() {
  for (int64_t r = 0; r < shape_.ranks; ++r) {
    ranks_[r].forward = r;
    open_forward(ranks_[r]);
  }
  start_work();
  while (!events_.empty()) {
    now_ = events_.top().time;
    take_events();
    start_work();
  }
  std::vector<OperationList> lists;
  for (Rank& rank : ranks_) {
    lists.push_back(in_order_of_sends(std::move(rank.list)));
  }
  for (const Chunk& chunk : chunks_) {
    CHECK(chunk.done) << "chunk " << chunk.chunk << " of sequence "
                      << chunk.sequence << " is stuck";
  }
  return lists;
}

// Puts the open visit among the ready ones, now or when its message is here.
void ScheduleSimulation::await_input(int64_t c) {
  Chunk& chunk = chunks_[c];
  const auto input = read_by(c, chunk.phase, (*chunk.visit)[chunk.position]);
  if (input && !arrived_[slot(*input)]) {
    chunk.awaits = slot(*input);
    return;
  }
  chunk.awaits = kNothing;
  rank_of(c).ready.emplace(urgency(chunk.phase), c);
  touch(rank_of(c));
}

// On each idle rank, the most urgent of what is ready.
void ScheduleSimulation::start_work() {
  for (Rank* rank : touched_) {
    rank->touched = false;
    if (rank->busy || rank->ready.empty()) continue;
    const int64_t c = rank->ready.top().second;
    rank->ready.pop();
    start(*rank, c);
  }
  touched_.clear();
}

void ScheduleSimulation::start(Rank& rank, int64_t c) {
  const Chunk& chunk = chunks_[c];
  const int64_t end = now_ + price(chunk);
  rank.busy = true;
  append_compute(c);
  events_.push({end, num_events_++, c, kNothing});
  if (const auto output = given_by(c)) {
    append_message(Operation::Kind::kSend, *output,
                   (*chunk.visit)[chunk.position].part);
    events_.push(
        {end + shape_.message_price, num_events_++, output->to, slot(*output)});
  }
}

// All that happens now, before anything is decided.
void ScheduleSimulation::take_events() {
  while (!events_.empty() && events_.top().time == now_) {
    const Event event = events_.top();
    events_.pop();
    if (event.arrived == kNothing) {
      end_work(event.chunk);
      continue;
    }
    arrived_[event.arrived] = 1;
    if (chunks_[event.chunk].awaits == event.arrived) await_input(event.chunk);
  }
}

void ScheduleSimulation::end_work(int64_t c) {
  Chunk& chunk = chunks_[c];
  rank_of(c).busy = false;
  touch(rank_of(c));
  if (++chunk.position < chunk.visit->size()) {
    await_input(c);
  } else {
    close(c);
  }
}

void ScheduleSimulation::touch(Rank& rank) {
  if (!rank.touched) touched_.push_back(&rank);
  rank.touched = true;
}

int64_t ScheduleSimulation::price(const Chunk& chunk) const {
  const Work& work = (*chunk.visit)[chunk.position];
  return shape_.price(chunk.phase, work.part, work.layer, chunk.sequence,
                      chunk.chunk);
}

// A border between neighbours of one sequence; chunk 0 never has one.
std::optional<ScheduleSimulation::Message> ScheduleSimulation::message(
    std::optional<LayerBorder> border, int64_t from, int64_t to) const {
  const int64_t right = std::max(from, to);
  if (!border || right == num_chunks() || shape_.ranks == 1) return {};
  const Chunk& chunk = chunks_[right];
  const bool crosses =
      from < to ? shape_.crosses(chunk.sequence, chunk.chunk, *border)
                : shape_.gradient_crosses(chunk.sequence, chunk.chunk, *border);
  if (!crosses) return {};
  return Message{*border, from, to};
}

std::optional<ScheduleSimulation::Message> ScheduleSimulation::read_by(
    int64_t c, Phase phase, const Work& work) const {
  const int64_t from = phase == Phase::kBackward ? c + 1 : c - 1;
  return message(work.reads, from, c);
}

std::optional<ScheduleSimulation::Message> ScheduleSimulation::given_by(
    int64_t c) const {
  const Chunk& chunk = chunks_[c];
  const int64_t to = chunk.phase == Phase::kBackward ? c - 1 : c + 1;
  return message((*chunk.visit)[chunk.position].gives, c, to);
}

int64_t ScheduleSimulation::slot(const Message& m) const {
  const int64_t layer = m.right() * num_layers() + m.border.layer;
  const int64_t border = static_cast<int64_t>(m.border.border);
  return (layer * kBorders + border) * 2 + (m.gradient() ? 1 : 0);
}

void ScheduleSimulation::append_receives(int64_t c, Phase phase) {
  for (const Work& work : visit_of(chunks_[c], phase)) {
    const auto input = read_by(c, phase, work);
    if (input) append_message(Operation::Kind::kReceive, *input, work.part);
  }
}

void ScheduleSimulation::append_message(Operation::Kind kind, const Message& m,
                                        Part part) {
  const bool send = kind == Operation::Kind::kSend;
  const int64_t here = send ? m.from : m.to, there = send ? m.to : m.from;
  const Chunk& right = chunks_[m.right()];
  if (send) numbers_[slot(m)] = rank_of(here).sent[m.gradient()]++;
  // A receive may be posted before the send: it gets its number at the end.
  rank_of(here).list.push_back(
      {.kind = kind,
       .phase = m.gradient() ? Phase::kBackward : Phase::kForward,
       .part = part,
       .border = m.border.border,
       .sequence = right.sequence,
       .layer = static_cast<int32_t>(m.border.layer),
       .chunk = right.chunk,
       .peer = static_cast<int32_t>(there % shape_.ranks),
       .bytes = shape_.bytes(m.border),
       .number = send ? numbers_[slot(m)] : slot(m)});
}

void ScheduleSimulation::append_compute(int64_t c) {
  const Chunk& chunk = chunks_[c];
  const Work& work = (*chunk.visit)[chunk.position];
  rank_of(c).list.push_back({.kind = Operation::Kind::kCompute,
                             .phase = chunk.phase,
                             .part = work.part,
                             .border = {},
                             .sequence = chunk.sequence,
                             .layer = static_cast<int32_t>(work.layer),
                             .chunk = chunk.chunk,
                             .slab = chunk.slab});
}

// Numbers the receives. One whose neighbour sends others first comes right
// after those.
OperationList ScheduleSimulation::in_order_of_sends(OperationList list) const {
  std::vector<Operation> receives[2];
  for (Operation& op : list) {
    if (op.kind != Operation::Kind::kReceive) continue;
    op.number = numbers_[op.number];
    receives[op.phase == Phase::kBackward].push_back(op);
  }
  for (auto& direction : receives) {
    std::ranges::sort(direction, {}, &Operation::number);
  }
  OperationList ordered;
  ordered.reserve(list.size());
  int64_t posted[2] = {0, 0};
  for (const Operation& op : list) {
    if (op.kind != Operation::Kind::kReceive) {
      ordered.push_back(op);
      continue;
    }
    const bool gradient = op.phase == Phase::kBackward;
    while (posted[gradient] <= op.number) {
      ordered.push_back(receives[gradient][posted[gradient]++]);
    }
  }
  return ordered;
}

}  // namespace timepipe
