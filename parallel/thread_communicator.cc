// Ranks as threads of one process. A message is handed over: whichever side
// comes second copies the bytes, under the one mutex of the run, so that a
// sender that touches its bytes too early is a data race for the thread
// sanitizer to see. Waits poll, as for every transport.

#include <algorithm>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <numeric>
#include <thread>
#include <tuple>
#include <vector>

#include "parallel/communicator.h"
#include "parallel/transport.h"

namespace timepipe {
namespace {

// Another rank's exception ended this wait: never the root cause.
class PeerFailed : public Blocked {
  using Blocked::Blocked;
};

// What all groups of one run share.
struct Run {
  std::mutex mutex;  // of everything below, the groups' contents included
  std::exception_ptr failure;
  int failed_rank = -1;

  void fail(int rank, std::exception_ptr exception) {
    const std::lock_guard lock(mutex);
    if (failure) return;
    failure = std::move(exception);
    failed_rank = rank;
  }
};

// A send or a receive that was posted; the other span is empty.
struct Post {
  ConstBytes from = {};
  Bytes into = {};
  int number = 0;  // as sent
  bool done = false;
  int came_number = 0;  // to a receive
  int64_t came_size = 0;
};

// From one rank to another, of one lane.
struct Channel {
  std::deque<Post*> sends, receives;  // in order; never both after match()

  void match() {
    while (!sends.empty() && !receives.empty()) {
      Post &send = *sends.front(), &receive = *receives.front();
      sends.pop_front();
      receives.pop_front();
      receive.came_number = send.number;
      receive.came_size = std::ssize(send.from);
      if (receive.came_size == std::ssize(receive.into)) {
        std::copy(send.from.begin(), send.from.end(), receive.into.begin());
      }
      send.done = receive.done = true;
    }
  }
};

// A collective that not all ranks have left; the last one to come does it all.
struct Collective {
  struct Part {
    ConstBytes in;
    Bytes out;
  };

  std::string name;
  std::vector<int64_t> counts;
  std::vector<Part> parts;
  int arrived = 0;
  bool done = false;
  std::string error;
};

void sum_pieces(const Collective& collective) {
  int64_t begin = 0;
  for (std::size_t owner = 0; owner < collective.parts.size(); ++owner) {
    auto* out = reinterpret_cast<int64_t*>(collective.parts[owner].out.data());
    const int64_t count = collective.counts[owner];
    const auto addends = [&](std::size_t rank) {
      const Collective::Part& part = collective.parts[rank];
      return reinterpret_cast<const int64_t*>(part.in.data()) + begin;
    };
    if (out != addends(owner)) std::copy_n(addends(owner), count, out);
    for (std::size_t rank = 0; rank < collective.parts.size(); ++rank) {
      if (rank == owner) continue;
      const int64_t* in = addends(rank);
      for (int64_t i = 0; i < count; ++i) out[i] += in[i];
    }
    begin += count;
  }
}

void gather_pieces(const Collective& collective) {
  int64_t begin = 0;
  for (const Collective::Part& piece : collective.parts) {
    for (const Collective::Part& part : collective.parts) {
      std::byte* place = part.out.data() + begin;
      if (place == piece.in.data()) continue;
      std::copy(piece.in.begin(), piece.in.end(), place);
    }
    begin += std::ssize(piece.in);
  }
}

struct Group {
  using ChannelKey = std::tuple<int, int, Lane>;  // source, target

  Group(std::shared_ptr<Run> run, std::vector<int> world_ranks)
      : run(std::move(run)), world_ranks(std::move(world_ranks)) {}

  std::shared_ptr<Run> run;
  const std::vector<int> world_ranks;
  std::map<ChannelKey, Channel> channels;
  std::map<int64_t, std::shared_ptr<Collective>> collectives;  // by number
  std::map<std::pair<int64_t, int>, std::shared_ptr<Group>> splits;
};

class ThreadRequest : public Request::Impl {
 public:
  ThreadRequest(std::shared_ptr<Group> group, int rank)
      : group_(std::move(group)), rank_(rank) {}

  bool test() final {
    const Run& run = *group_->run;
    const std::lock_guard lock(group_->run->mutex);
    if (done()) return true;
    if (!run.failure) return false;
    throw PeerFailed("rank " + std::to_string(rank()) +
                     ": gave up waiting for " + describe() + ": rank " +
                     std::to_string(run.failed_rank) + " failed");
  }
  int rank() const final { return group_->world_ranks[rank_]; }

 protected:
  virtual bool done() const = 0;  // throws the operation's own error

  const std::shared_ptr<Group> group_;
  const int rank_;
};

class MessageRequest final : public ThreadRequest {
 public:
  MessageRequest(std::shared_ptr<Group> group, int rank, int peer, Tag tag,
                 bool send, Post post)
      : ThreadRequest(std::move(group), rank),
        peer_(peer),
        tag_(tag),
        send_(send),
        key_(send ? rank : peer, send ? peer : rank, tag.lane),
        post_(post) {
    post_.number = wire_number(tag);
    const std::lock_guard lock(group_->run->mutex);
    Channel& channel = group_->channels[key_];
    (send_ ? channel.sends : channel.receives).push_back(&post_);
    channel.match();
    drop_if_empty();
  }

  ~MessageRequest() override {
    const std::lock_guard lock(group_->run->mutex);
    if (post_.done) return;
    Channel& channel = group_->channels[key_];
    std::erase(send_ ? channel.sends : channel.receives, &post_);
    drop_if_empty();
  }

  std::string describe() const override {
    const int peer = group_->world_ranks[peer_];
    return send_ ? describe_send(tag_, peer) : describe_receive(tag_, peer);
  }

 private:
  bool done() const override {
    if (post_.done && !send_) {
      require_received(tag_, group_->world_ranks[peer_], std::ssize(post_.into),
                       post_.came_number, post_.came_size);
    }
    return post_.done;
  }

  void drop_if_empty() {
    const auto channel = group_->channels.find(key_);
    if (channel->second.sends.empty() && channel->second.receives.empty()) {
      group_->channels.erase(channel);
    }
  }

  const int peer_;
  const Tag tag_;
  const bool send_;
  const Group::ChannelKey key_;
  Post post_;
};

class CollectiveRequest final : public ThreadRequest {
 public:
  CollectiveRequest(std::shared_ptr<Group> group, int rank,
                    std::shared_ptr<Collective> collective)
      : ThreadRequest(std::move(group), rank),
        collective_(std::move(collective)) {}

  ~CollectiveRequest() override {
    const std::lock_guard lock(group_->run->mutex);
    if (!collective_->done) --collective_->arrived;  // so that it never is
  }

  std::string describe() const override {
    return describe_collective(collective_->name);
  }

 private:
  bool done() const override {
    if (!collective_->error.empty()) throw InvalidArgument(collective_->error);
    return collective_->done;
  }

  const std::shared_ptr<Collective> collective_;
};

class ThreadCommunicator final : public Communicator, private Transport {
 public:
  ThreadCommunicator(std::shared_ptr<Group> group, int rank,
                     std::shared_ptr<double> timeout_seconds)
      : group_(std::move(group)),
        rank_(rank),
        timeout_seconds_(std::move(timeout_seconds)) {}

  int rank() const override { return rank_; }
  int size() const override {
    return static_cast<int>(group_->world_ranks.size());
  }

  Request all_gather(ConstBytes in, std::span<const int64_t> counts,
                     Bytes out) override {
    require_all_gather(rank_, size(), in, counts, out);
    return enter("all_gather", counts, {in, out}, gather_pieces);
  }

  std::unique_ptr<Communicator> split(int color) override;

  void set_timeout(double seconds) override { *timeout_seconds_ = seconds; }
  double timeout_seconds() const override { return *timeout_seconds_; }
  Transport& transport() override { return *this; }

 private:
  Request isend(ConstBytes bytes, int peer, Tag tag) override {
    return post(peer, tag, true, {.from = bytes});
  }
  Request irecv(Bytes bytes, int peer, Tag tag) override {
    return post(peer, tag, false, {.into = bytes});
  }

  Request reduce_scatter_sum(std::span<const int64_t> in,
                             std::span<const int64_t> counts,
                             std::span<int64_t> out) override {
    require_reduce_scatter(rank_, size(), in, counts, out);
    return enter("reduce_scatter_sum", counts,
                 {std::as_bytes(in), std::as_writable_bytes(out)}, sum_pieces);
  }

  void progress() override {}  // the other side copies

  Request post(int peer, Tag tag, bool send, Post post) {
    require_peer(rank_, size(), peer, tag);
    return Request(
        std::make_unique<MessageRequest>(group_, rank_, peer, tag, send, post),
        *timeout_seconds_);
  }

  Request enter(const char* name, std::span<const int64_t> counts,
                Collective::Part part, void (*finish)(const Collective&));

  const std::shared_ptr<Group> group_;
  const int rank_;
  const std::shared_ptr<double> timeout_seconds_;
  int64_t num_collectives_ = 0, num_splits_ = 0;
};

Request ThreadCommunicator::enter(const char* name,
                                  std::span<const int64_t> counts,
                                  Collective::Part part,
                                  void (*finish)(const Collective&)) {
  std::shared_ptr<Collective> collective;
  {
    const std::lock_guard lock(group_->run->mutex);
    const int64_t number = num_collectives_++;
    auto& entry = group_->collectives[number];
    if (!entry) {
      entry = std::make_shared<Collective>();
      entry->name = name;
      entry->counts.assign(counts.begin(), counts.end());
      entry->parts.resize(size());
    }
    collective = entry;
    if (collective->name != name ||
        !std::ranges::equal(collective->counts, counts)) {
      collective->error = "collective " + std::to_string(number) + ": " + name +
                          ", expected " + collective->name +
                          " with equal counts, as on other ranks";
    }
    collective->parts[rank_] = part;
    if (++collective->arrived == size()) {
      if (collective->error.empty()) finish(*collective);
      collective->done = true;
      group_->collectives.erase(number);
    }
  }
  return Request(
      std::make_unique<CollectiveRequest>(group_, rank_, std::move(collective)),
      *timeout_seconds_);
}

std::unique_ptr<Communicator> ThreadCommunicator::split(int color) {
  const std::vector<int> members = ranks_of_color(*this, color);
  std::vector<int> world_ranks = members;
  for (int& rank : world_ranks) rank = group_->world_ranks[rank];
  const std::lock_guard lock(group_->run->mutex);
  auto& group = group_->splits[{num_splits_++, color}];
  if (!group) group = std::make_shared<Group>(group_->run, world_ranks);
  const auto self = std::find(members.begin(), members.end(), rank_);
  return std::make_unique<ThreadCommunicator>(
      group, static_cast<int>(self - members.begin()), timeout_seconds_);
}

}  // namespace

void run_thread_ranks(int ranks, const std::function<void(Communicator&)>& body,
                      double timeout_seconds) {
  require(ranks > 0, "ranks: ", ranks, ", expected > 0");
  const auto run = std::make_shared<Run>();
  std::vector<int> world_ranks(ranks);
  std::iota(world_ranks.begin(), world_ranks.end(), 0);
  const auto world = std::make_shared<Group>(run, world_ranks);
  std::vector<std::thread> threads;
  threads.reserve(ranks);
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      try {
        ThreadCommunicator communicator(
            world, rank, std::make_shared<double>(timeout_seconds));
        body(communicator);
      } catch (...) {  // on its way to the caller's thread
        run->fail(rank, std::current_exception());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  if (run->failure) std::rethrow_exception(run->failure);
}

}  // namespace timepipe
