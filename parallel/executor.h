#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <unordered_map>
#include <utility>
#include <vector>

#include "parallel/chunk_program.h"
#include "parallel/communicator.h"

namespace timepipe {

// Runs a rank's list of operations from top to bottom, never reordering: a
// compute operation waits for the border that it reads, messages are posted
// where they stand, and between operations the transport may progress. One rank
// is the same path with no messages in its list.
class Executor {
 public:
  // `time`: the ranks that share the sequences.
  Executor(Context& ctx, Communicator& time, ChunkProgram& program)
      : ctx_(ctx), time_(time), program_(program) {}

  // Told after every compute operation how many of the list are done.
  using Watch = std::function<void(std::size_t done)>;

  // Throws Blocked if a peer doesn't answer before the deadline.
  void run(const ScheduleShape& shape, const OperationList& operations,
           GradientSum& gradients, const Watch& watch = {});

  // With shape.keeps_borders: the next run's sequences go on from the borders
  // that the last one left. Without this call, from those that it went on from.
  void go_on_from_kept_borders() { before_ = std::exchange(kept_, {}); }

  // What a sequence left for the next run.
  struct CarriedBorder {
    int64_t sequence;
    LayerBorder border;
    int rank;      // that has it
    Tensor bytes;  // only there
  };
  // What the next run goes on from. Those of all sequences, in their order.
  std::vector<CarriedBorder> carried_borders() const;
  void carry(std::vector<CarriedBorder> borders);

 private:
  // A border or its gradient, from the moment that it is produced here or its
  // receive is posted until nobody needs it any more.
  struct Slot {
    Tensor bytes;
    Request receive;  // complete if produced here
  };
  // A message that the transport may still be reading.
  struct Outgoing {
    Tensor bytes;
    Request send;
  };
  using Key = uint64_t;

  void compute_forward(const ScheduleShape& shape, const Operation& op);
  void compute_backward(const ScheduleShape& shape, const Operation& op,
                        GradientSum& gradients);
  void post_send(const Operation& op);
  void post_receive(const Operation& op);
  void progress();
  void hand_over_borders(const ScheduleShape& shape);
  void keep_borders(const ScheduleShape& shape);

  static Key key(bool gradient, int64_t sequence, int64_t chunk,
                 LayerBorder border);
  Bytes produce(Key key, int64_t size_bytes);
  ConstBytes wait_for(Key key);
  ConstBytes from_before(const ScheduleShape& shape, const Operation& op,
                         LayerBorder border) const;

  Context& ctx_;
  Communicator& time_;
  ChunkProgram& program_;
  std::unordered_map<Key, Slot> slots_;
  std::list<Outgoing> outgoing_;

  using Carried = std::map<Key, CarriedBorder>;
  Carried before_, kept_;  // from the run before, by this one
};

}  // namespace timepipe
