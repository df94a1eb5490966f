// Exchanges over a transport of host bytes.

#include "parallel/exchange.h"

#include <functional>
#include <list>
#include <string>
#include <utility>
#include <vector>

#include "parallel/transport.h"
#include "parallel/watchdog.h"
#include "runtime/transfer.h"

namespace timepipe {
namespace {

// The bytes of a tensor where a transport can reach them.
class Parcel {
 public:
  virtual ~Parcel() = default;
  virtual Bytes bytes() = 0;
  virtual bool packed() const { return true; }  // may be sent
  virtual void wait_until_packed() {}
  virtual void unpack() {}  // was received
};

// The tensor's own memory.
class HostParcel final : public Parcel {
 public:
  explicit HostParcel(const Tensor& tensor) : memory_(tensor) {}
  Bytes bytes() override { return memory_.get(); }

 private:
  TransportBytes memory_;
};

// A copy in pinned memory.
class StagedParcel final : public Parcel {
 public:
  StagedParcel(Context& ctx, const Tensor& tensor, bool pack)
      : ctx_(ctx),
        tensor_(tensor),
        copy_(ctx.pinned(tensor.shape(), tensor.dtype())) {
    if (pack) copied_ = download_later(ctx, tensor, copy_.bytes());
  }
  Bytes bytes() override { return copy_.bytes(); }
  bool packed() const override { return copied_.done(); }
  void wait_until_packed() override { copied_.synchronize(); }
  void unpack() override { upload(ctx_, copy_, tensor_); }

 private:
  Context& ctx_;
  Tensor tensor_;
  HostArray copy_;
  Event copied_;
};

}  // namespace

class Exchange::Message {
 public:
  Message(std::unique_ptr<Parcel> parcel, int peer, const Tag& tag)
      : parcel_(std::move(parcel)), peer_(peer), tag_(tag) {}

  bool packed() const { return parcel_->packed(); }
  void wait_until_packed() { parcel_->wait_until_packed(); }
  void post_send(Transport& transport) {
    request_ = transport.isend(parcel_->bytes(), peer_, tag_);
  }
  void post_receive(Transport& transport) {
    request_ = transport.irecv(parcel_->bytes(), peer_, tag_);
    received_ = true;
  }

  // Whether it is gone or has come.
  bool move() {
    if (over()) return true;
    if (!request_.test()) return false;
    if (received_) parcel_->unpack();
    parcel_.reset();
    return true;
  }
  bool over() const { return parcel_ == nullptr; }
  Request& request() { return request_; }

 private:
  std::unique_ptr<Parcel> parcel_;  // until it is over
  int peer_;
  Tag tag_;
  bool received_ = false;
  Request request_;
};

namespace {

class TransportExchange : public Exchange {
 public:
  TransportExchange(Context& ctx, Communicator& group)
      : ctx_(ctx), group_(group), transport_(group.transport()) {}

  int rank() const override { return group_.rank(); }
  int size() const override { return group_.size(); }

  void send(const Tensor& tensor, int peer, const Tag& tag) override;
  Arrival receive(const Tensor& into, int peer, const Tag& tag) override;
  void reduce_scatter_sum(const Tensor& in, std::span<const int64_t> counts,
                          Tensor& out) override;
  void all_gather(const Tensor& in, std::span<const int64_t> counts,
                  Tensor& out) override;
  void progress() override;
  void finish() override;
  int64_t bytes_sent() const override { return bytes_sent_; }

 protected:
  Context& ctx_;

 private:
  using Messages = std::list<std::shared_ptr<Message>>;

  virtual std::unique_ptr<Parcel> parcel(const Tensor& tensor, bool pack) = 0;

  void post_packed();
  static void move(Messages& messages);
  void wait_for(Message& message) override;
  // Until over(), which the request brings about.
  void wait_for(const Request& request, const std::function<bool()>& over);

  Communicator& group_;
  Transport& transport_;
  Messages packing_, outgoing_, incoming_;  // oldest first
  Watchdog watchdog_;
  int64_t bytes_sent_ = 0;
};

void require_sum_types(const Tensor& in, const Tensor& out) {
  for (const Tensor* t : {&in, &out}) {
    require(t->dtype() == DType::kI64, "reduce_scatter_sum: dtype ",
            name_of(t->dtype()), ", expected i64");
  }
}

std::span<int64_t> integers(Bytes bytes) {
  return {reinterpret_cast<int64_t*>(bytes.data()),
          bytes.size() / sizeof(int64_t)};
}

void TransportExchange::send(const Tensor& tensor, int peer, const Tag& tag) {
  require_peer(rank(), size(), peer, tag);
  packing_.push_back(
      std::make_shared<Message>(parcel(tensor, /*pack=*/true), peer, tag));
  post_packed();
  bytes_sent_ += tensor.size_bytes();
}

Exchange::Arrival TransportExchange::receive(const Tensor& into, int peer,
                                             const Tag& tag) {
  auto message =
      std::make_shared<Message>(parcel(into, /*pack=*/false), peer, tag);
  message->post_receive(transport_);
  incoming_.push_back(message);
  return {*this, std::move(message)};
}

void TransportExchange::reduce_scatter_sum(const Tensor& in,
                                           std::span<const int64_t> counts,
                                           Tensor& out) {
  require_sum_types(in, out);
  const auto from = parcel(in, /*pack=*/true);
  const auto to = parcel(out, /*pack=*/false);
  from->wait_until_packed();
  Request request = transport_.reduce_scatter_sum(
      integers(from->bytes()), counts, integers(to->bytes()));
  wait_for(request, [&] { return request.test(); });
  to->unpack();
}

void TransportExchange::all_gather(const Tensor& in,
                                   std::span<const int64_t> counts,
                                   Tensor& out) {
  require_same_dtype("all_gather: in", in, out);
  std::vector<int64_t> bytes(counts.begin(), counts.end());
  for (int64_t& count : bytes) count *= size_of(out.dtype());
  const auto from = parcel(in, /*pack=*/true);
  const auto to = parcel(out, /*pack=*/false);
  from->wait_until_packed();
  Request request = group_.all_gather(from->bytes(), bytes, to->bytes());
  wait_for(request, [&] { return request.test(); });
  to->unpack();
}

// In the order of the sends: one that is packed waits for those before it.
void TransportExchange::post_packed() {
  while (!packing_.empty() && packing_.front()->packed()) {
    packing_.front()->post_send(transport_);
    outgoing_.splice(outgoing_.end(), packing_, packing_.begin());
  }
}

void TransportExchange::move(Messages& messages) {
  for (auto m = messages.begin(); m != messages.end();) {
    m = (*m)->move() ? messages.erase(m) : std::next(m);
  }
}

void TransportExchange::progress() {
  transport_.progress();
  post_packed();
  move(outgoing_);
  move(incoming_);
  watchdog_.look(group_.timeout_seconds());
}

void TransportExchange::finish() {
  while (!packing_.empty()) {
    packing_.front()->wait_until_packed();
    post_packed();
  }
  while (!outgoing_.empty()) {
    const std::shared_ptr<Message> oldest = outgoing_.front();
    wait_for(*oldest);
  }
}

void TransportExchange::wait_for(Message& message) {
  wait_for(message.request(), [&] { return message.over(); });
}

void TransportExchange::wait_for(const Request& request,
                                 const std::function<bool()>& over) {
  progress();
  if (over()) return;
  watchdog_.expect(
      {.over = over, .rank = request.rank(), .text = request.describe()});
  watchdog_.wait([this] { progress(); });
}

class HostExchange final : public TransportExchange {
 public:
  using TransportExchange::TransportExchange;

 private:
  std::unique_ptr<Parcel> parcel(const Tensor& tensor, bool) override {
    return std::make_unique<HostParcel>(tensor);
  }
};

class StagedExchange final : public TransportExchange {
 public:
  using TransportExchange::TransportExchange;

  // A lone rank's collectives stay on the device.
  void reduce_scatter_sum(const Tensor& in, std::span<const int64_t> counts,
                          Tensor& out) override {
    if (size() > 1) {
      return TransportExchange::reduce_scatter_sum(in, counts, out);
    }
    require_sum_types(in, out);
    require_alone("reduce_scatter_sum", in, counts, out);
    copy(ctx_, in, out);
  }
  void all_gather(const Tensor& in, std::span<const int64_t> counts,
                  Tensor& out) override {
    if (size() > 1) return TransportExchange::all_gather(in, counts, out);
    require_same_dtype("all_gather: in", in, out);
    require_alone("all_gather", in, counts, out);
    copy(ctx_, in, out);
  }

 private:
  static void require_alone(const char* what, const Tensor& in,
                            std::span<const int64_t> counts,
                            const Tensor& out) {
    require(counts.size() == 1 && counts[0] == in.numel() &&
                in.numel() == out.numel(),
            what, ": ", in.numel(), " elements into ", out.numel(),
            " of one rank, expected as many as its piece has");
  }

  std::unique_ptr<Parcel> parcel(const Tensor& tensor, bool pack) override {
    return std::make_unique<StagedParcel>(ctx_, tensor, pack);
  }
};

}  // namespace

std::unique_ptr<Exchange> make_exchange(Context& ctx, Communicator& group) {
  if (ctx.device() == Device{}) return make_host_exchange(ctx, group);
  return make_staged_exchange(ctx, group);
}

std::unique_ptr<Exchange> make_host_exchange(Context& ctx,
                                             Communicator& group) {
  return std::make_unique<HostExchange>(ctx, group);
}

std::unique_ptr<Exchange> make_staged_exchange(Context& ctx,
                                               Communicator& group) {
  return std::make_unique<StagedExchange>(ctx, group);
}

}  // namespace timepipe
