// A job of one rank: nobody to send to, sums are what is given.

#include <algorithm>

#include "parallel/communicator.h"
#include "parallel/transport.h"

namespace timepipe {
namespace {

class SelfCommunicator final : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }

  Request isend(ConstBytes, int peer, Tag tag) override {
    require_peer(*this, peer, tag);
    return {};
  }
  Request irecv(Bytes, int peer, Tag tag) override {
    require_peer(*this, peer, tag);
    return {};
  }

  Request reduce_scatter_sum(std::span<const int64_t> in,
                             std::span<const int64_t> counts,
                             std::span<int64_t> out) override {
    require_reduce_scatter(*this, in, counts, out);
    std::copy(in.begin(), in.end(), out.begin());
    return {};
  }

  Request all_gather(ConstBytes in, std::span<const int64_t> counts,
                     Bytes out) override {
    require_all_gather(*this, in, counts, out);
    if (in.data() != out.data()) std::copy(in.begin(), in.end(), out.begin());
    return {};
  }

  std::unique_ptr<Communicator> split(int) override {
    return make_self_communicator();
  }

  void progress() override {}
  int64_t bytes_sent() const override { return 0; }
  void set_timeout(double) override {}
};

}  // namespace

std::unique_ptr<Communicator> make_self_communicator() {
  return std::make_unique<SelfCommunicator>();
}

}  // namespace timepipe
