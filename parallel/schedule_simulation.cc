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
    OperationList& list = lists.emplace_back(std::move(rank.list));
    list.insert(list.begin(), rank.carried_sends.begin(),
                rank.carried_sends.end());
  }
  for (const Chunk& chunk : chunks_) {
    CHECK(chunk.done) << "chunk " << chunk.chunk << " of micro-batch "
                      << chunk.micro_batch << " is stuck";
  }
  return lists;
}

// Puts the open visit among the ready ones, now or when its message is here.
void ScheduleSimulation::await_input(int64_t c) {
  Chunk& chunk = chunks_[c];
  const auto input = read_by(c);
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
  append_carried_send(c);
  events_.push({end, num_events_++, c, kNothing});
  if (const auto output = given_by(c)) {
    append_send(*output, (*chunk.visit)[chunk.position].part);
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
  return shape_.price(chunk.phase, work.part, work.layer, chunk.micro_batch,
                      chunk.chunk);
}

// A border between neighbours of one micro-batch; chunk 0 never has one.
std::optional<ScheduleSimulation::Message> ScheduleSimulation::message(
    std::optional<LayerBorder> border, int64_t from, int64_t to) const {
  const int64_t right = std::max(from, to);
  if (!border || right == num_chunks() || shape_.ranks == 1) return {};
  const Chunk& chunk = chunks_[right];
  const bool crosses =
      from < to
          ? shape_.crosses(chunk.micro_batch, chunk.chunk, *border)
          : shape_.gradient_crosses(chunk.micro_batch, chunk.chunk, *border);
  if (!crosses) return {};
  return Message{*border, from, to};
}

std::optional<ScheduleSimulation::Message> ScheduleSimulation::read_by(
    int64_t c) const {
  const Chunk& chunk = chunks_[c];
  const int64_t from = chunk.phase == Phase::kBackward ? c + 1 : c - 1;
  return message((*chunk.visit)[chunk.position].reads, from, c);
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

void ScheduleSimulation::append_compute(int64_t c) {
  const Chunk& chunk = chunks_[c];
  const Work& work = (*chunk.visit)[chunk.position];
  rank_of(c).list.push_back({.kind = Operation::Kind::kCompute,
                             .phase = chunk.phase,
                             .part = work.part,
                             .border = {},
                             .micro_batch = chunk.micro_batch,
                             .layer = static_cast<int32_t>(work.layer),
                             .chunk = chunk.chunk,
                             .slab = chunk.slab});
}

void ScheduleSimulation::append_send(const Message& m, Part part) {
  const Chunk& right = chunks_[m.right()];
  rank_of(m.from).list.push_back(
      {.kind = Operation::Kind::kSend,
       .phase = m.gradient() ? Phase::kBackward : Phase::kForward,
       .part = part,
       .border = m.border.border,
       .micro_batch = right.micro_batch,
       .layer = static_cast<int32_t>(m.border.layer),
       .chunk = right.chunk,
       .peer = static_cast<int32_t>(m.to % shape_.ranks),
       .bytes = shape_.bytes(right.micro_batch, m.border)});
}

// Of what the work that starts reads, if it is carried from another rank. So a
// rank sends in the order in which all ranks read: even if the messages to all
// of them shared one lane, none would be held up by one that is read later.
void ScheduleSimulation::append_carried_send(int64_t c) {
  const Chunk& chunk = chunks_[c];
  const Work& work = (*chunk.visit)[chunk.position];
  if (chunk.chunk > 0 || chunk.phase != Phase::kForward || !work.reads) return;
  if (!shape_.continues(chunk.micro_batch, *work.reads)) return;
  const auto to = static_cast<int32_t>(c % shape_.ranks);
  const int from = shape_.carried_rank(chunk.micro_batch);
  if (from == to) return;
  ranks_[from].carried_sends.push_back(
      {.kind = Operation::Kind::kSend,
       .phase = Phase::kForward,
       .part = work.part,
       .border = work.reads->border,
       .micro_batch = chunk.micro_batch,
       .layer = static_cast<int32_t>(work.reads->layer),
       .chunk = 0,
       .peer = to,
       .bytes = shape_.bytes(chunk.micro_batch, *work.reads)});
}

}  // namespace timepipe
