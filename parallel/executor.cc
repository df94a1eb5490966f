// Runs a rank's operations, and matches the messages that they need.

#include "parallel/executor.h"

#include <glog/logging.h>

#include <utility>
#include <vector>

namespace timepipe {
namespace {

Tag tag_of(const Operation& message) {
  return {message.border, lane_of(message), message.micro_batch,
          message.chunk,  message.layer,    message.number};
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
  try {
    run_all(shape, operations, gradients, watch);
  } catch (const Misplaced& misplaced) {
    throw misplaced.named(received(operations));
  }
  CHECK(slots_.empty()) << slots_.size() << " borders left unread";
}

void Executor::run_all(const ScheduleShape& shape,
                       const OperationList& operations, GradientSum& gradients,
                       const Watch& watch) {
  std::size_t done = 0;
  for (const Operation& op : operations) {
    run(shape, op, gradients);
    time_.progress();
    ++done;
    if (watch && op.kind == Operation::Kind::kCompute) watch(done);
  }
  if (shape.keeps_borders) keep_borders(shape);
  time_.finish();
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
  const auto reads = border_in(op.part, op.layer);
  const auto writes = border_out(op.part, op.layer, layers);
  const Tensor in = reads ? border_before(shape, op, *reads) : Tensor();
  Tensor out;
  if (op.phase == Phase::kForward && writes &&
      (shape.crosses(op.micro_batch, op.chunk + 1, *writes) ||
       shape.keeps(op.micro_batch, op.chunk, *writes))) {
    out = produce(key(false, op.micro_batch, op.chunk + 1, *writes));
  }
  program_.forward(ctx_, op.part, op.layer,
                   program_.view(op.micro_batch, op.chunk), op.slab, in, out);
  if (!shape.training && reads) {
    slots_.erase(key(false, op.micro_batch, op.chunk, *reads));
  }
}

void Executor::compute_backward(const ScheduleShape& shape, const Operation& op,
                                GradientSum& gradients) {
  const auto layers = static_cast<int64_t>(shape.layers.size());
  const auto read = border_in(op.part, op.layer);
  const auto wrote = border_out(op.part, op.layer, layers);
  const Tensor in = read ? border_before(shape, op, *read) : Tensor();
  Tensor dout, din;
  if (read && shape.gradient_crosses(op.micro_batch, op.chunk, *read)) {
    din = produce(key(true, op.micro_batch, op.chunk, *read));
  }
  if (wrote && shape.gradient_crosses(op.micro_batch, op.chunk + 1, *wrote)) {
    dout = wait_for(key(true, op.micro_batch, op.chunk + 1, *wrote));
  }
  program_.backward(ctx_, op.part, op.layer,
                    program_.view(op.micro_batch, op.chunk), op.slab, in, dout,
                    din, gradients);
  if (read) slots_.erase(key(false, op.micro_batch, op.chunk, *read));
  if (wrote) slots_.erase(key(true, op.micro_batch, op.chunk + 1, *wrote));
}

// What comes from the chunk before; into the first chunk of a micro-batch that
// goes on, from the run before.
Tensor Executor::border_before(const ScheduleShape& shape, const Operation& op,
                               LayerBorder border) {
  if (shape.crosses(op.micro_batch, op.chunk, border)) {
    return wait_for(key(false, op.micro_batch, op.chunk, border));
  }
  if (op.chunk > 0 || !shape.continues(op.micro_batch, border)) return {};
  CHECK(carried_) << "nothing is carried from run to run here";
  if (shape.carried_rank(op.micro_batch) != time_.rank()) {
    return wait_for(key(false, op.micro_batch, 0, border));
  }
  return carried_->of(op.micro_batch, border);
}

void Executor::keep_borders(const ScheduleShape& shape) {
  CHECK(carried_) << "nothing is carried from run to run here";
  carried_->keep(
      shape, time_.rank(), [&](int64_t micro_batch, LayerBorder border) {
        const int64_t chunks = std::ssize(shape.micro_batches[micro_batch]);
        auto slot = slots_.extract(key(false, micro_batch, chunks, border));
        CHECK(!slot.empty()) << "a border was not kept";
        return std::move(slot.mapped().value);
      });
}

void Executor::post_send(const Operation& op) {
  const LayerBorder border{op.border, op.layer};
  if (lane_of(op) == Lane::kCarried) {
    CHECK(carried_) << "nothing is carried from run to run here";
    return time_.send(carried_->of(op.micro_batch, border), op.peer,
                      tag_of(op));
  }
  const bool gradient = op.phase == Phase::kBackward;
  const auto slot =
      slots_.extract(key(gradient, op.micro_batch, op.chunk, border));
  CHECK(!slot.empty()) << "a border is sent before it is computed";
  time_.send(slot.mapped().value, op.peer, tag_of(op));
}

void Executor::post_receive(const Operation& op) {
  const bool gradient = op.phase == Phase::kBackward;
  const LayerBorder border{op.border, op.layer};
  const Key k = key(gradient, op.micro_batch, op.chunk, border);
  Tensor& place = produce(k);
  CHECK_EQ(place.size_bytes(), op.bytes) << "a border of another size";
  slots_.at(k).arrival = time_.receive(place, op.peer, tag_of(op));
}

Executor::Key Executor::key(bool gradient, int64_t micro_batch, int64_t chunk,
                            LayerBorder border) {
  return {micro_batch, chunk, border.layer, border.border, gradient};
}

Tensor& Executor::produce(const Key& key) {
  const auto& [micro_batch, chunk, layer, border, gradient] = key;
  const auto [slot, is_new] = slots_.try_emplace(
      key, Slot{program_.make_border(ctx_, micro_batch, {border, layer}), {}});
  CHECK(is_new) << "a border is produced twice";
  return slot->second.value;
}

const Tensor& Executor::wait_for(const Key& key) {
  const auto slot = slots_.find(key);
  CHECK(slot != slots_.end()) << "a border is read before it is there";
  slot->second.arrival.wait();
  return slot->second.value;
}

}  // namespace timepipe
