#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <tuple>

#include "parallel/carried_borders.h"
#include "parallel/chunk_program.h"
#include "parallel/exchange.h"

namespace timepipe {

// Runs a rank's list of operations from top to bottom, never reordering: a
// compute operation waits for the border that it reads, messages are posted
// where they stand, and between operations the transport may progress. One rank
// is the same path with no messages in its list.
class Executor {
 public:
  // `time`: between the ranks that share the micro-batches. carried: what
  // micro-batches go on from and leave; only needed where a shape has such.
  Executor(Context& ctx, Exchange& time, ChunkProgram& program,
           CarriedBorders* carried = nullptr)
      : ctx_(ctx), time_(time), program_(program), carried_(carried) {}

  // Told after every compute operation how many of the list are done.
  using Watch = std::function<void(std::size_t done)>;

  // Throws Blocked if a peer doesn't answer before the deadline,
  // InvalidArgument that names both if another message comes than the list
  // expects.
  void run(const ScheduleShape& shape, const OperationList& operations,
           GradientSum& gradients, const Watch& watch = {});

 private:
  // A border or its gradient, from the moment that it is produced here or its
  // receive is posted until nobody needs it any more.
  struct Slot {
    Tensor value;
    Exchange::Arrival arrival;  // empty if produced here
  };
  // Micro-batch, chunk on the right, layer.
  using Key = std::tuple<int64_t, int64_t, int64_t, Border, bool /*gradient*/>;

  void run_all(const ScheduleShape& shape, const OperationList& operations,
               GradientSum& gradients, const Watch& watch);
  void run(const ScheduleShape& shape, const Operation& op,
           GradientSum& gradients);
  void compute_forward(const ScheduleShape& shape, const Operation& op);
  void compute_backward(const ScheduleShape& shape, const Operation& op,
                        GradientSum& gradients);
  void post_send(const Operation& op);
  void post_receive(const Operation& op);
  void keep_borders(const ScheduleShape& shape);

  static Key key(bool gradient, int64_t micro_batch, int64_t chunk,
                 LayerBorder border);
  Tensor& produce(const Key& key);
  const Tensor& wait_for(const Key& key);
  Tensor border_before(const ScheduleShape& shape, const Operation& op,
                       LayerBorder border);

  Context& ctx_;
  Exchange& time_;
  ChunkProgram& program_;
  CarriedBorders* carried_;
  std::map<Key, Slot> slots_;
};

}  // namespace timepipe
