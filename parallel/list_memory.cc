// Counts what a list of operations holds at once.

#include "parallel/list_memory.h"

#include <algorithm>
#include <deque>

#include "parallel/schedule_crossings.h"
#include "runtime/context.h"

namespace timepipe {
namespace {

// Follows what the executor takes and gives back, operation by operation.
class Ledger {
 public:
  Ledger(const ScheduleShape& shape, int rank)
      : shape_(shape), crossings_(shape) {
    const auto layers = static_cast<int64_t>(shape.layers.size());
    for (int64_t layer = 0; layer < layers; ++layer) {
      for (int b = 0; b < kBorders; ++b) {
        const LayerBorder border{static_cast<Border>(b), layer};
        if (shape.layers[layer].bytes(border.border) > 0) ++messages_per_visit_;
        count_kept(rank, border);
      }
    }
  }

  void run(const Operation& op) {
    if (op.kind == Operation::Kind::kReceive)
      add(MemoryPool::block_bytes(op.bytes));
    if (op.kind == Operation::Kind::kSend && lane_of(op) != Lane::kCarried)
      send(MemoryPool::block_bytes(op.bytes));
    if (op.kind != Operation::Kind::kCompute) return;
    if (op.phase == Phase::kBackward) {
      backward(op);
    } else {
      forward(op);
    }
  }

  const ListMemory& peak() const { return peak_; }

 private:
  // What the run before left for first chunks stays where it is until the next,
  // also if it is sent from there.
  void count_kept(int rank, LayerBorder border) {
    for (int64_t s = 0; s < std::ssize(shape_.micro_batches); ++s) {
      if (shape_.continues(s, border) && shape_.carried_rank(s) == rank) {
        add(MemoryPool::block_bytes(shape_.bytes(s, border)));
      }
    }
  }

  void forward(const Operation& op) {
    const auto layers = static_cast<int64_t>(shape_.layers.size());
    const auto writes = border_out(op.part, op.layer, layers);
    if (op.phase == Phase::kForward && writes &&
        (shape_.crosses(op.micro_batch, op.chunk + 1, *writes) ||
         shape_.keeps(op.micro_batch, op.chunk, *writes))) {
      add(MemoryPool::block_bytes(shape_.bytes(op.micro_batch, *writes)));
    }
    if (!shape_.training) give_back(op, border_in(op.part, op.layer));
  }

  void backward(const Operation& op) {
    const auto layers = static_cast<int64_t>(shape_.layers.size());
    if (op.part == Part::kOutput) {
      peak_.open_backwards = std::max(peak_.open_backwards, ++open_);
    }
    if (op.part == Part::kConv) --open_;
    const auto read = border_in(op.part, op.layer);
    if (read && shape_.gradient_crosses(op.micro_batch, op.chunk, *read)) {
      add(MemoryPool::block_bytes(shape_.bytes(op.micro_batch, *read)));
    }
    give_back(op, read);
    const auto wrote = border_out(op.part, op.layer, layers);
    if (wrote &&
        shape_.gradient_crosses(op.micro_batch, op.chunk + 1, *wrote)) {
      bytes_ -= MemoryPool::block_bytes(shape_.bytes(op.micro_batch, *wrote));
    }
  }

  void give_back(const Operation& op, std::optional<LayerBorder> read) {
    if (!read) return;
    const Crossing x = {op.micro_batch, op.chunk, *read, /*gradient=*/false};
    if (!crossings_.exists(x)) return;
    const bool lies_here =
        x.carried() && crossings_.giver(x) == crossings_.reader(x);
    if (!lies_here)
      bytes_ -= MemoryPool::block_bytes(shape_.bytes(op.micro_batch, *read));
  }

  void send(int64_t size) {
    sent_.push_back(size);
    if (std::ssize(sent_) <= messages_per_visit_ + 1) return;
    bytes_ -= sent_.front();
    sent_.pop_front();
  }

  void add(int64_t size) {
    bytes_ += size;
    peak_.border_bytes = std::max(peak_.border_bytes, bytes_);
  }

  const ScheduleShape& shape_;
  const Crossings crossings_;
  int64_t messages_per_visit_ = 0;
  int64_t bytes_ = 0, open_ = 0;
  std::deque<int64_t> sent_;
  ListMemory peak_;
};

}  // namespace

ListMemory list_memory(const ScheduleShape& shape, int rank,
                       const OperationList& operations) {
  Ledger ledger(shape, rank);
  for (const Operation& op : operations) ledger.run(op);
  return ledger.peak();
}

}  // namespace timepipe
