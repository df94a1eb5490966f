#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "parallel/schedule_crossings.h"
#include "parallel/virtual_clock.h"

namespace timepipe {

// Throws InvalidArgument that names rank and operation.
[[noreturn]] void refuse(int rank, const Operation& op,
                         const std::string& what);
inline void check(int rank, const Operation& op, bool holds, const char* what) {
  if (!holds) refuse(rank, op, what);
}

// The messages of the virtual clock. On each lane sends and receives meet in
// their order. Throws InvalidArgument that names rank and operation if they
// don't fit.
class VirtualLanes {
 public:
  // Ranks that waited and may go on are added to `runnable`.
  VirtualLanes(const ScheduleShape& shape, const Crossings& crossings,
               LaneRule rule, std::vector<int>& runnable);

  // What a message alone can show.
  void check_fits(int rank, const Operation& op) const;
  // Of `rank` at `time`; the message takes `delay`.
  void send(int rank, const Operation& op, int64_t time, int64_t delay);
  void receive(int rank, const Operation& op, int64_t time);
  // When the message arrives that `op` of `rank` reads; if that isn't known
  // yet, the rank waits.
  std::optional<int64_t> read(int rank, const Operation& op, const Crossing& x);
  void check_all_read() const;

 private:
  struct Message {
    const Operation* send = nullptr;
    const Operation* receive = nullptr;
    int64_t sent = 0, received = 0, delay = 0;
    std::optional<int64_t> arrival;
    bool read = false;
  };
  // The messages of a lane between two ranks in the order of each.
  struct Order {
    std::vector<std::size_t> sends, receives;
  };
  // Where messages leave or come in one at a time: those that haven't arrived,
  // and when the last did that has.
  struct End {
    std::deque<std::size_t> queue;
    int64_t free = 0;
  };

  void check_order(int from, const Order& order, std::size_t place) const;
  End& end_of(int rank, const Operation& op);
  void move(std::size_t message);
  void arrive(Message& message, int64_t time);

  const ScheduleShape& shape_;
  const Crossings& crossings_;
  const LaneRule rule_;
  std::vector<Message> messages_;                       // by crossing
  std::map<std::tuple<int, int, Lane>, Order> orders_;  // from, to
  std::map<std::tuple<int, int, Lane, Operation::Kind>, End> ends_;
  std::vector<const Message*> awaited_;  // by rank
  std::vector<int>& runnable_;
};

}  // namespace timepipe
