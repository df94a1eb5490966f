#include "parallel/virtual_lanes.h"

#include <algorithm>

#include "runtime/error.h"

namespace timepipe {
namespace {

using Kind = Operation::Kind;

constexpr char kMiscounted[] = "its number isn't its place on its lane";
constexpr char kDisordered[] = "receives are in another order than the sends";
constexpr int kAnyPeer = -1;

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
         std::to_string(op.chunk) + ", micro-batch " +
         std::to_string(op.micro_batch);
}

}  // namespace

void refuse(int rank, const Operation& op, const std::string& what) {
  throw InvalidArgument("virtual clock: rank " + std::to_string(rank) + ": " +
                        to_string(op) + ": " + what);
}

VirtualLanes::VirtualLanes(const ScheduleShape& shape,
                           const Crossings& crossings, LaneRule rule,
                           std::vector<int>& runnable)
    : shape_(shape),
      crossings_(crossings),
      rule_(rule),
      messages_(crossings.size()),
      awaited_(shape.ranks),
      runnable_(runnable) {}

void VirtualLanes::check_fits(int rank, const Operation& op) const {
  const Crossing x = crossing_of(op);
  check(rank, op, crossings_.exists(x), "nothing crosses there");
  check(rank, op, op.peer != rank, "message to itself");
  check(rank, op, op.bytes == shape_.bytes(op.micro_batch, x.border),
        "wrong size");
  const bool send = op.kind == Kind::kSend;
  const int giver = crossings_.giver(x), reader = crossings_.reader(x);
  check(rank, op, rank == (send ? giver : reader), "border of another rank");
  check(rank, op, op.peer == (send ? reader : giver), "wrong peer");
}

void VirtualLanes::send(int rank, const Operation& op, int64_t time,
                        int64_t delay) {
  const std::size_t index = crossings_.index(crossing_of(op));
  Message& m = messages_[index];
  check(rank, op, m.send == nullptr, "sent twice");
  Order& order = orders_[{rank, op.peer, lane_of(op)}];
  check(rank, op, op.number == std::ssize(order.sends), kMiscounted);
  m.send = &op;
  m.sent = time;
  m.delay = delay;
  order.sends.push_back(index);
  check_order(rank, order, order.sends.size() - 1);
  if (rule_ == LaneRule::kFree) {
    arrive(m, time + delay);
  } else {
    end_of(rank, op).queue.push_back(index);
    move(index);
  }
}

void VirtualLanes::receive(int rank, const Operation& op, int64_t time) {
  const std::size_t index = crossings_.index(crossing_of(op));
  Message& m = messages_[index];
  check(rank, op, m.receive == nullptr, "received twice");
  Order& order = orders_[{op.peer, rank, lane_of(op)}];
  check(rank, op, op.number == std::ssize(order.receives), kMiscounted);
  m.receive = &op;
  m.received = time;
  order.receives.push_back(index);
  check_order(op.peer, order, order.receives.size() - 1);
  if (rule_ == LaneRule::kFree) return;
  end_of(rank, op).queue.push_back(index);
  move(index);
}

std::optional<int64_t> VirtualLanes::read(int rank, const Operation& op,
                                          const Crossing& x) {
  Message& m = messages_[crossings_.index(x)];
  check(rank, op, m.receive != nullptr, "reads what no receive was posted for");
  if (m.arrival) {
    m.read = true;
  } else {
    awaited_[rank] = &m;
  }
  return m.arrival;
}

void VirtualLanes::check_all_read() const {
  for (const Message& m : messages_) {
    if (m.send == nullptr && m.receive == nullptr) continue;
    const bool sent = m.send != nullptr;
    const Operation& op = sent ? *m.send : *m.receive;
    const Crossing x = crossing_of(op);
    const int rank = sent ? crossings_.giver(x) : crossings_.reader(x);
    check(rank, op, sent, "never sent");
    check(rank, op, m.receive != nullptr, "never received");
    check(rank, op, m.read, "never read");
  }
}

void VirtualLanes::check_order(int from, const Order& order,
                               std::size_t place) const {
  if (place >= order.sends.size() || place >= order.receives.size()) return;
  const std::size_t sent = order.sends[place];
  check(from, *messages_[sent].send, sent == order.receives[place],
        kDisordered);
}

VirtualLanes::End& VirtualLanes::end_of(int rank, const Operation& op) {
  const int peer = rule_ == LaneRule::kHolding ? op.peer : kAnyPeer;
  return ends_[{rank, peer, lane_of(op), op.kind}];
}

// Lets a message arrive that is the first at both ends, and then others that
// are by that.
void VirtualLanes::move(std::size_t message) {
  std::vector<std::size_t> candidates = {message};
  while (!candidates.empty()) {
    const std::size_t first = candidates.back();
    candidates.pop_back();
    Message& m = messages_[first];
    if (m.send == nullptr || m.receive == nullptr || m.arrival) continue;
    End& out = end_of(m.receive->peer, *m.send);
    End& in = end_of(m.send->peer, *m.receive);
    if (out.queue.front() != first || in.queue.front() != first) continue;
    arrive(m, std::max({m.sent, m.received, out.free, in.free}) + m.delay);
    for (End* end : {&out, &in}) {
      end->free = *m.arrival;
      end->queue.pop_front();
      if (!end->queue.empty()) candidates.push_back(end->queue.front());
    }
  }
}

void VirtualLanes::arrive(Message& message, int64_t time) {
  message.arrival = time;
  const int reader = message.send->peer;
  if (awaited_[reader] != &message) return;
  awaited_[reader] = nullptr;
  runnable_.push_back(reader);
}

}  // namespace timepipe
