// Keeps the borders that sequences carry, and passes them to the ranks that go
// on from them.

#include "parallel/carried_borders.h"

#include <glog/logging.h>

#include <utility>

namespace timepipe {
namespace {

// Calls f(sequence, border) for what can cross a border; layer 0 has no kHaloX.
template <class F>
void for_each_border(const ScheduleShape& shape, F&& f) {
  const auto sequences = static_cast<int32_t>(shape.sequences.size());
  const auto layers = static_cast<int64_t>(shape.layers.size());
  for (int32_t s = 0; s < sequences; ++s) {
    for (int64_t l = 0; l < layers; ++l) {
      if (l > 0) f(s, LayerBorder{Border::kHaloX, l});
      f(s, LayerBorder{Border::kHaloQk, l});
      f(s, LayerBorder{Border::kState, l});
    }
  }
}

}  // namespace

std::list<Outgoing> CarriedBorders::hand_over(Context& ctx, Communicator& time,
                                              const ChunkProgram& program,
                                              const ScheduleShape& shape) {
  std::list<Outgoing> outgoing;
  struct Receive {
    int from;
    TransportBytes bytes;
    Request request;
  };
  std::vector<Receive> receives;
  std::map<int, std::vector<Tag>> sent;  // to this rank, by each other
  std::map<std::pair<int, int>, int64_t> numbers;  // of messages from, to
  for_each_border(shape, [&](int32_t sequence, LayerBorder border) {
    if (!shape.continues(sequence, border)) return;
    const auto entry = taken_.find(key(sequence, border));
    CHECK(entry != taken_.end()) << "no border was kept to go on from";
    Tensor& value = entry->second.value;
    const int to = shape.rank_of(sequence, 0);
    const int from = std::exchange(entry->second.rank, to);
    if (from == to) return;
    const Tag tag{border.border,
                  false,
                  sequence,
                  0,
                  static_cast<int32_t>(border.layer),
                  numbers[{from, to}]++};
    if (time.rank() == from) {
      TransportBytes bytes(std::exchange(value, {}));
      Request send = time.isend(bytes.get(), to, tag);
      outgoing.push_back({std::move(bytes), std::move(send)});
    } else if (time.rank() == to) {
      value = program.make_border(ctx, border);
      TransportBytes bytes(value);
      Request receive = time.irecv(bytes.get(), from, tag);
      receives.push_back({from, std::move(bytes), std::move(receive)});
      sent[from].push_back(tag);
    }
  });
  for (Receive& receive : receives) {
    try {
      receive.request.wait();
    } catch (const Misplaced& misplaced) {
      throw misplaced.named(sent[receive.from]);
    }
  }
  return outgoing;
}

const Tensor& CarriedBorders::of(int64_t sequence, LayerBorder border) const {
  const auto entry = taken_.find(key(sequence, border));
  CHECK(entry != taken_.end()) << "no border was kept to go on from";
  return entry->second.value;
}

void CarriedBorders::keep(const ScheduleShape& shape, int rank,
                          const Take& take) {
  kept_.clear();
  for_each_border(shape, [&](int32_t sequence, LayerBorder border) {
    const int64_t last = std::ssize(shape.sequences[sequence]) - 1;
    if (!shape.keeps(sequence, last, border)) return;
    Entry entry{sequence, border, shape.rank_of(sequence, last), {}};
    if (entry.rank == rank) entry.value = take(sequence, border);
    kept_.insert_or_assign(key(sequence, border), std::move(entry));
  });
}

void CarriedBorders::discard() { kept_.clear(); }

void CarriedBorders::advance() { taken_ = std::exchange(kept_, {}); }

std::vector<CarriedBorders::Entry> CarriedBorders::entries() const {
  std::vector<Entry> entries;
  entries.reserve(taken_.size());
  for (const auto& [key, entry] : taken_) entries.push_back(entry);
  return entries;
}

void CarriedBorders::set(std::vector<Entry> entries) {
  taken_.clear();
  for (Entry& entry : entries) {
    taken_.insert_or_assign(key(entry.sequence, entry.border),
                            std::move(entry));
  }
}

}  // namespace timepipe
