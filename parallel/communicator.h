#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "parallel/schedule.h"
#include "runtime/context.h"

namespace timepipe {

// What a point-to-point message is. Printed in every error; only its number is
// sent.
struct Tag {
  Border border;
  Lane lane;
  int32_t micro_batch, chunk, layer;  // chunk: on the right of the border
  int64_t number = 0;                 // on its lane, from 0

  std::string to_string() const;  // "state of layer 2, chunk 5, micro-batch 0"
};

// Numbers are sent modulo this: MPI over UCX has tags of 23 bits.
inline constexpr int64_t kMessageNumbers = 1 << 20;

// A message came whose number isn't that of the receive that it came to.
class Misplaced : public InvalidArgument {
 public:
  Misplaced(Tag expected, int peer, int64_t came);  // peer: of the world

  // The same, and which message came if it is one of `sent`: those of the peer.
  InvalidArgument named(const std::vector<Tag>& sent) const;

  const Tag expected;
  const int64_t came;  // the number
};

// An operation under way. Not copyable; done requests may be dropped, others
// only on the way out of the program (an exception). After Blocked, waiting
// again is allowed.
class Request {
 public:
  class Impl {
   public:
    virtual ~Impl() = default;
    virtual bool test() = 0;       // true once complete
    virtual int rank() const = 0;  // this rank, in the world
    // What it waits for, with ranks of the world: "state of layer 2, chunk 5,
    // micro-batch 0 from rank 1".
    virtual std::string describe() const = 0;
  };

  Request() = default;  // complete
  explicit Request(std::unique_ptr<Impl> impl, double timeout_seconds)
      : impl_(std::move(impl)), timeout_seconds_(timeout_seconds) {}

  bool test();
  // As Impl has them, unless it is complete.
  int rank() const { return impl_->rank(); }
  std::string describe() const { return impl_->describe(); }
  // Polls until complete. Throws Blocked, which names this rank, the step, what
  // was waited for, from whom and the seconds, once the deadline has passed.
  void wait();

 private:
  std::unique_ptr<Impl> impl_;
  double timeout_seconds_ = 0;
};

class Transport;

// A group of ranks, for values of the host: what ranks tell each other outside
// the work of a step. One per thread that computes. For tensors there is
// Exchange.
class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;

  // out = the pieces of all ranks, counts[r] bytes each, in the order of ranks.
  // `in` may be its own piece of `out`.
  virtual Request all_gather(ConstBytes in, std::span<const int64_t> counts,
                             Bytes out) = 0;

  // Ranks of equal color form a group, ordered by their rank here.
  virtual std::unique_ptr<Communicator> split(int color) = 0;

  // Every wait that is made later ends after this. One deadline for a group and
  // its splits.
  virtual void set_timeout(double seconds) = 0;
  virtual double timeout_seconds() const = 0;

  // What an Exchange of these ranks sends its messages by.
  virtual Transport& transport() = 0;
};

// The values of all ranks in their order, counts[r] of rank r's. Collective.
template <class T>
std::vector<T> gather_values(Communicator& world, const std::vector<T>& own,
                             std::vector<int64_t> counts) {
  std::vector<T> all(std::accumulate(counts.begin(), counts.end(), int64_t{0}));
  for (int64_t& count : counts) count *= sizeof(T);
  world
      .all_gather(std::as_bytes(std::span(own)), counts,
                  std::as_writable_bytes(std::span(all)))
      .wait();
  return all;
}

// One value of each rank. Collective.
template <class T>
std::vector<T> gather_values(Communicator& world, T own) {
  return gather_values(world, std::vector<T>{own},
                       std::vector<int64_t>(world.size(), 1));
}

// A group of one: collectives copy, there is nobody to send to.
std::unique_ptr<Communicator> make_self_communicator();

// Runs body(communicator) on `ranks` threads of this process and returns when
// all have ended. When one throws, the others' waits end at once; rethrows what
// was thrown first. For tests.
void run_thread_ranks(int ranks, const std::function<void(Communicator&)>& body,
                      double timeout_seconds = 60);

// Ranks send each other addends in parts of so many elements, and so many parts
// are under way.
inline constexpr int64_t kSummedElements = 1 << 20;
inline constexpr int64_t kSumsUnderWay = 4;
// What one of so many ranks takes to receive them, for a sum of which it has
// `elements`.
constexpr int64_t sum_buffer_bytes(int64_t elements, int64_t ranks) {
  const int64_t parts =
      (ranks - 1) * ((elements + kSummedElements - 1) / kSummedElements);
  return std::min(kSumsUnderWay, parts) * std::min(kSummedElements, elements) *
         static_cast<int64_t>(sizeof(int64_t));
}

#ifdef TIMEPIPE_WITH_MPI
// How much of a message and of a sum one call of MPI takes.
struct MpiPieces {
  int64_t message_bytes = int64_t{1} << 30;  // it counts to 2^31 - 1
  int64_t summed_elements = kSummedElements;
};

// Initialises MPI (once per process) and returns the group of all ranks;
// finalises it when destroyed, unless by an exception: abort_all_ranks() should
// follow then. Throws InvalidArgument if MPI and the launcher disagree about
// the number of processes.
std::unique_ptr<Communicator> make_mpi_communicator(
    int* argc, char*** argv, const MpiPieces& pieces = {});
// Whether a launcher (mpirun, srun) started this process as one of several.
bool started_by_mpi();
// Ends all ranks with this exit status; leaves by itself a few seconds later,
// since MPI_Abort need not return.
[[noreturn]] void abort_all_ranks(int exit_status);
#endif

}  // namespace timepipe
