#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "parallel/communicator.h"

namespace timepipe {

// Tensors between the ranks of a group, in the order of a context's work: what
// is sent is as the work so far has left it, and the work that comes after
// Arrival::wait() has what was received. The host doesn't wait for a device; on
// the CPU, where the caller does the work, it does. Messages of a lane from one
// rank to another arrive in the order in which they are sent; lanes don't hold
// up each other. One per context.
//
// All but the getters throw what has gone wrong by then. Blocked, which names
// this rank, the step, what was waited for, from whom and the seconds: the
// communicator's deadline has passed since the wait began; waiting again is
// allowed. Misplaced or InvalidArgument: another message came than was
// expected, or one of another size.
class Exchange {
 public:
  virtual ~Exchange() = default;

  class Message;  // under way
  // What work waits for before it reads what was received. Empty: it is there.
  class Arrival {
   public:
    Arrival() = default;
    Arrival(Exchange& exchange, std::shared_ptr<Message> message)
        : exchange_(&exchange), message_(std::move(message)) {}
    void wait() {
      if (message_) exchange_->wait_for(*message_);
      message_.reset();
    }

   private:
    Exchange* exchange_ = nullptr;
    std::shared_ptr<Message> message_;
  };

  virtual int rank() const = 0;
  virtual int size() const = 0;

  // Keeps the tensor until it is gone. Nobody may write it meanwhile. Throws
  // InvalidArgument, as receive(), unless `peer` is another rank.
  virtual void send(const Tensor& tensor, int peer, const Tag& tag) = 0;
  virtual Arrival receive(const Tensor& into, int peer, const Tag& tag) = 0;

  // out = this rank's piece of the sum over ranks of `in` [n] of i64, which is
  // cut into pieces of counts[r] elements. `out` may be its own piece of `in`.
  // Exact, whatever the order. Throws InvalidArgument, as all_gather(), before
  // anything is sent, unless types and sizes agree. Collective.
  virtual void reduce_scatter_sum(const Tensor& in,
                                  std::span<const int64_t> counts,
                                  Tensor& out) = 0;
  // out = the pieces of all ranks, counts[r] elements each, in their order.
  // `in` may be its own piece of `out`. Collective.
  virtual void all_gather(const Tensor& in, std::span<const int64_t> counts,
                          Tensor& out) = 0;

  // Lets messages move and looks after what work waits for; call between
  // operations. A wait of the host calls it, too: it is where Blocked comes
  // from.
  virtual void progress() = 0;
  // Until all that was sent is gone.
  virtual void finish() = 0;

  // Payload bytes of the messages that were sent so far.
  virtual int64_t bytes_sent() const = 0;

 private:
  virtual void wait_for(Message& message) = 0;
};

// For tensors of the context's device. `group` must outlive it.
std::unique_ptr<Exchange> make_exchange(Context& ctx, Communicator& group);

// For tensors in the host's memory: messages are read from it and written to
// it.
std::unique_ptr<Exchange> make_host_exchange(Context& ctx, Communicator& group);

// For tensors of any device, through pinned memory of the host.
std::unique_ptr<Exchange> make_staged_exchange(Context& ctx,
                                               Communicator& group);

}  // namespace timepipe
