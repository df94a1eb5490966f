// Runs a rank's operations, and matches the messages that they need.

#include "parallel/executor.h"

#include <glog/logging.h>

#include <utility>
#include <vector>

namespace timepipe {
namespace {

Tag tag_of(const Operation& message) {
  return {message.border,   message.phase == Phase::kBackward,
          message.sequence, message.chunk,
          message.layer,    message.number};
}

// Of the messages that a list receives: from one peer in each direction.
std::vector<Tag> received(const OperationList& operations) {
  std::vector<Tag> tags;
  for (const Operation& op : operations) {
    if (op.kind == Operation::Kind::kReceive) tags.push_back(tag_of(op));
  }
  return tags;
}

}  // namespace

void Executor::run(const ScheduleShape& shape, const OperationList& operations,
                   GradientSum& gradients, const Watch& watch) {
  if (carried_) outgoing_ = carried_->hand_over(ctx_, time_, shape);
  std::size_t done = 0;
  for (const Operation& op : operations) {
    try {
      run(shape, op, gradients);
    } catch (const Misplaced& misplaced) {
      throw misplaced.named(received(operations));
    }
    progress();
    ++done;
    if (watch && op.kind == Operation::Kind::kCompute) watch(done);
  }
  if (shape.keeps_borders) keep_borders(shape);
  for (Outgoing& message : outgoing_) message.send.wait();
  outgoing_.clear();
  CHECK(slots_.empty()) << slots_.size() << " borders left unread";
}

void Executor::run(const ScheduleShape& shape, const Operation& op,
                   GradientSum& gradients) {
  switch (op.kind) {
    case Operation::Kind::kReceive:
      post_receive(op);
      break;
    case Operation::Kind::kSend:
      post_send(op);
      break;
    case Operation::Kind::kCompute:
      if (op.phase == Phase::kBackward) {
        compute_backward(shape, op, gradients);
      } else {
        compute_forward(shape, op);
      }
  }
}

void Executor::compute_forward(const ScheduleShape& shape,
                               const Operation& op) {
  const auto layers = static_cast<int64_t>(shape.layers.size());
  ConstBytes in;
  const auto reads = border_in(op.part, op.layer);
  const bool waits = reads && shape.crosses(op.sequence, op.chunk, *reads);
  if (waits) {
    in = wait_for(key(false, op.sequence, op.chunk, *reads));
  } else if (reads) {
    in = carried_border(shape, op, *reads);
  }
  Bytes out;
  const auto writes = border_out(op.part, op.layer, layers);
  if (op.phase == Phase::kForward && writes &&
      (shape.crosses(op.sequence, op.chunk + 1, *writes) ||
       shape.keeps(op.sequence, op.chunk, *writes))) {
    out = produce(key(false, op.sequence, op.chunk + 1, *writes),
                  shape.bytes(*writes));
  }
  program_.forward(ctx_, op.part, op.layer,
                   program_.view(op.sequence, op.chunk), op.lane, in, out);
  if (!shape.training && waits) {
    slots_.erase(key(false, op.sequence, op.chunk, *reads));
  }
}

void Executor::compute_backward(const ScheduleShape& shape, const Operation& op,
                                GradientSum& gradients) {
  const auto layers = static_cast<int64_t>(shape.layers.size());
  ConstBytes in, dout;
  Bytes din;
  const auto read = border_in(op.part, op.layer);
  const bool waits = read && shape.crosses(op.sequence, op.chunk, *read);
  if (!waits && read) in = carried_border(shape, op, *read);
  if (waits) {
    in = wait_for(key(false, op.sequence, op.chunk, *read));
    if (shape.gradient_crosses(op.sequence, op.chunk, *read)) {
      din =
          produce(key(true, op.sequence, op.chunk, *read), shape.bytes(*read));
    }
  }
  const auto wrote = border_out(op.part, op.layer, layers);
  if (wrote && shape.gradient_crosses(op.sequence, op.chunk + 1, *wrote)) {
    dout = wait_for(key(true, op.sequence, op.chunk + 1, *wrote));
  }
  program_.backward(ctx_, op.part, op.layer,
                    program_.view(op.sequence, op.chunk), op.lane, in, dout,
                    din, gradients);
  if (waits) slots_.erase(key(false, op.sequence, op.chunk, *read));
  if (!dout.empty()) {
    slots_.erase(key(true, op.sequence, op.chunk + 1, *wrote));
  }
}

// What the first chunk of a sequence takes from the run before, if it goes on.
ConstBytes Executor::carried_border(const ScheduleShape& shape,
                                    const Operation& op,
                                    LayerBorder border) const {
  if (op.chunk > 0 || !shape.continues(op.sequence, border)) return {};
  CHECK(carried_) << "nothing is carried from run to run here";
  return carried_->of(op.sequence, border);
}

void Executor::keep_borders(const ScheduleShape& shape) {
  CHECK(carried_) << "nothing is carried from run to run here";
  carried_->keep(
      shape, time_.rank(), [&](int64_t sequence, LayerBorder border) {
        const int64_t chunks = std::ssize(shape.sequences[sequence]);
        auto slot = slots_.extract(key(false, sequence, chunks, border));
        CHECK(!slot.empty()) << "a border was not kept";
        return std::move(slot.mapped().bytes);
      });
}

void Executor::post_send(const Operation& op) {
  const bool gradient = op.phase == Phase::kBackward;
  const LayerBorder border{op.border, op.layer};
  auto slot = slots_.extract(key(gradient, op.sequence, op.chunk, border));
  CHECK(!slot.empty()) << "a border is sent before it is computed";
  Tensor bytes = std::move(slot.mapped().bytes);
  const ConstBytes payload = std::as_const(bytes).bytes();
  Request send = time_.isend(payload, op.peer, tag_of(op));
  outgoing_.push_back({std::move(bytes), std::move(send)});
}

void Executor::post_receive(const Operation& op) {
  const bool gradient = op.phase == Phase::kBackward;
  const Key k = key(gradient, op.sequence, op.chunk, {op.border, op.layer});
  const Bytes place = produce(k, op.bytes);
  slots_.at(k).receive = time_.irecv(place, op.peer, tag_of(op));
}

void Executor::progress() {
  time_.progress();
  std::erase_if(outgoing_,
                [](Outgoing& message) { return message.send.test(); });
}

Executor::Key Executor::key(bool gradient, int64_t sequence, int64_t chunk,
                            LayerBorder border) {
  return {sequence, chunk, border.layer, border.border, gradient};
}

Bytes Executor::produce(Key key, int64_t size_bytes) {
  // Elements are f32 or f64, so that any size is a number of f32.
  Tensor bytes = ctx_.allocate({size_bytes / size_of(DType::kF32)}, DType::kF32,
                               MemoryUse::kBorders);
  const auto [slot, is_new] =
      slots_.try_emplace(key, Slot{std::move(bytes), Request()});
  CHECK(is_new) << "a border is produced twice";
  return slot->second.bytes.bytes();
}

ConstBytes Executor::wait_for(Key key) {
  const auto slot = slots_.find(key);
  CHECK(slot != slots_.end()) << "a border is read before it is there";
  slot->second.receive.wait();
  return std::as_const(slot->second.bytes).bytes();
}

}  // namespace timepipe
