#include "parallel/schedule_messages.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <utility>

#include "parallel/schedule_crossings.h"

namespace timepipe {
namespace {

using Kind = Operation::Kind;

// Numbers the sends; returns the number of each crossing that is a message.
std::vector<int64_t> number_sends(const Crossings& crossings,
                                  std::vector<OperationList>& lists) {
  std::vector<int64_t> numbers(crossings.size());
  for (OperationList& list : lists) {
    std::vector<std::array<int64_t, kLanes>> sent(lists.size());  // to each
    for (Operation& op : list) {
      if (op.kind != Kind::kSend) continue;
      op.number = sent[op.peer][static_cast<int>(lane_of(op))]++;
      numbers[crossings.index(crossing_of(op))] = op.number;
    }
  }
  return numbers;
}

struct Receive {
  Operation op;
  int32_t before;  // place in the list of computes and sends
};

// Those of each lane: peer, lane.
using Receives = std::map<std::pair<int, Lane>, std::vector<Receive>>;

// What a rank reads from others, each just before the compute that precedes its
// reader; before the reader itself if that is the first.
Receives late_receives(const ScheduleShape& shape, const Crossings& crossings,
                       const std::vector<int64_t>& numbers, int rank,
                       const OperationList& list) {
  Receives receives;
  std::optional<int32_t> preceding;
  for (int32_t i = 0; i < std::ssize(list); ++i) {
    const Operation& op = list[i];
    if (op.kind != Kind::kCompute) continue;
    const int32_t before = preceding.value_or(i);
    preceding = i;
    const auto x = crossings.read_by(op);
    if (!x || crossings.giver(*x) == rank) continue;
    const Operation receive = {
        .kind = Kind::kReceive,
        .phase = x->gradient ? Phase::kBackward : Phase::kForward,
        .part = op.part,
        .border = x->border.border,
        .micro_batch = op.micro_batch,
        .layer = static_cast<int32_t>(x->border.layer),
        .chunk = static_cast<int32_t>(x->right),
        .peer = crossings.giver(*x),
        .bytes = shape.bytes(op.micro_batch, x->border),
        .number = numbers[crossings.index(*x)]};
    receives[{receive.peer, lane_of(receive)}].push_back({receive, before});
  }
  return receives;
}

// Puts the receives of a lane in its order; those that are read later than
// others behind them move up.
void put_in_order(std::vector<Receive>& lane) {
  std::ranges::sort(lane, {},
                    [](const Receive& receive) { return receive.op.number; });
  for (std::size_t i = lane.size() - 1; i > 0; --i) {
    lane[i - 1].before = std::min(lane[i - 1].before, lane[i].before);
  }
}

OperationList merged(const OperationList& list, const Receives& receives) {
  std::vector<std::span<const Receive>> lanes;  // what is left of each
  std::size_t size = list.size();
  for (const auto& [name, lane] : receives) {
    lanes.emplace_back(lane);
    size += lane.size();
  }
  OperationList merged;
  merged.reserve(size);
  for (int32_t i = 0; i < std::ssize(list); ++i) {
    for (auto& lane : lanes) {
      for (; !lane.empty() && lane[0].before == i; lane = lane.subspan(1)) {
        merged.push_back(lane[0].op);
      }
    }
    merged.push_back(list[i]);
  }
  return merged;
}

}  // namespace

void add_messages(const ScheduleShape& shape,
                  std::vector<OperationList>& lists) {
  const Crossings crossings(shape);
  const std::vector<int64_t> numbers = number_sends(crossings, lists);
  for (int rank = 0; rank < shape.ranks; ++rank) {
    OperationList& list = lists[rank];
    Receives receives = late_receives(shape, crossings, numbers, rank, list);
    for (auto& [name, lane] : receives) put_in_order(lane);
    list = merged(list, receives);
  }
}

}  // namespace timepipe
