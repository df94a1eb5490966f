// Cuts messages and sums into pieces that MPI can count and need not copy
// whole.

#include "parallel/mpi_transport.h"

#include <glog/logging.h>

#include <algorithm>
#include <deque>
#include <exception>
#include <utility>

namespace timepipe {
namespace {

int rank_of_world() { return rank_of(MPI_COMM_WORLD); }

// A message as pieces of one number: all are of piece_bytes but the last, which
// is shorter, so that the receiver knows it; it may be empty.
class PiecesRequest : public Request::Impl {
 public:
  PiecesRequest(Tag tag, int peer, int64_t size, int64_t piece_bytes)
      : tag_(tag),
        peer_(peer),
        size_(size),
        piece_bytes_(piece_bytes),
        requests_(size / piece_bytes + 1, MPI_REQUEST_NULL) {}

  // Calls post(begin, size, request) for every piece.
  template <class Post>
  void post(const Post& post) {
    int64_t begin = 0;
    for (MPI_Request& request : requests_) {
      const int64_t size = std::min(piece_bytes_, size_ - begin);
      post(begin, static_cast<int>(size), &request);
      begin += size;
    }
  }

  bool test() final {
    while (over_ < std::ssize(requests_)) {
      int done = 0;
      MPI_Status status;
      const int error = MPI_Test(&requests_[over_], &done, &status);
      if (error == MPI_SUCCESS && done == 0) return false;
      check(over_ * piece_bytes_, error, status);
      ++over_;
    }
    return true;
  }
  int rank() const final { return rank_of_world(); }

 protected:
  const Tag tag_;
  const int peer_;
  const int64_t size_, piece_bytes_;

 private:
  // Of the piece that begins there.
  virtual void check(int64_t begin, int error, const MPI_Status& status) = 0;

  std::vector<MPI_Request> requests_;
  int64_t over_ = 0;  // of them, from the first
};

class SendRequest final : public PiecesRequest {
 public:
  using PiecesRequest::PiecesRequest;
  std::string describe() const override { return describe_send(tag_, peer_); }

 private:
  void check(int64_t, int error, const MPI_Status&) override {
    check_mpi("MPI_Test", error);
  }
};

// Takes the next pieces of the lane, whatever their tag, and checks number and
// size. That comes too late for one that is both larger than its place and too
// large to be buffered: Open MPI 4.1 writes past the end (its get protocol
// copies what the sender has, seen over shared memory and TCP).
class ReceiveRequest final : public PiecesRequest {
 public:
  using PiecesRequest::PiecesRequest;
  std::string describe() const override {
    return describe_receive(tag_, peer_);
  }

 private:
  void check(int64_t begin, int error, const MPI_Status& status) override {
    int error_class = MPI_SUCCESS, received = 0;
    MPI_Error_class(error, &error_class);
    if (error_class != MPI_ERR_TRUNCATE) check_mpi("MPI_Test", error);
    TIMEPIPE_CHECK_MPI(MPI_Get_count(&status, MPI_BYTE, &received));
    const int64_t expected = std::min(piece_bytes_, size_ - begin);
    // UCX doesn't tell the size of a message that is too large; neither does a
    // piece after which others come.
    require(error == MPI_SUCCESS ||
                (received > expected && received < piece_bytes_),
            describe(), ": more bytes sent than the ", size_, " expected");
    const int64_t came = received == expected ? size_ : begin + received;
    require_received(tag_, peer_, size_, status.MPI_TAG, came);
  }
};

// Every rank sends the others their pieces of its addends, and adds what comes
// for its own: so much goes over the wire as in a ring, and nothing is copied
// but a few parts that are on their way here. In round r = 1, 2, ... a rank
// sends to the r-th one after it, so that nobody is sent to by two at once.
class SumRequest final : public Request::Impl {
 public:
  SumRequest(MPI_Comm comm, int rank, std::span<const int64_t> in,
             std::span<const int64_t> counts, std::span<int64_t> out,
             int64_t part)
      : comm_(comm), out_(out), room_(std::min(part, std::ssize(out))) {
    std::vector<const int64_t*> begin = {in.data()};
    for (const int64_t count : counts) begin.push_back(begin.back() + count);
    if (out.data() != begin[rank]) {
      std::copy_n(begin[rank], std::ssize(out), out.begin());
    }
    const int ranks = static_cast<int>(counts.size());
    for (int round = 1; round < ranks; ++round) {
      const int to = (rank + round) % ranks;
      const int from = (rank + ranks - round) % ranks;
      for (int64_t i = 0; i < counts[to]; i += part) {
        sends_.push_back({to, begin[to] + i, std::min(part, counts[to] - i)});
      }
      for (int64_t i = 0; i < std::ssize(out); i += part) {
        receives_.push_back({from, i, std::min(part, std::ssize(out) - i)});
      }
    }
    buffers_.resize(std::min(kSumsUnderWay, std::ssize(receives_)) * room_);
    test();
  }

  bool test() override {
    move_out();
    move_in();
    return sends_.empty() && receives_.empty();
  }
  int rank() const override { return rank_of_world(); }
  std::string describe() const override {
    return describe_collective("reduce_scatter_sum");
  }

 private:
  template <class Place>
  struct Part {
    int peer;
    Place place;
    int64_t count;
    MPI_Request request = MPI_REQUEST_NULL;
  };

  // Of the first kSumsUnderWay parts: starts those that are not yet under way,
  // and drops the first while they are over, after over(part).
  template <class Parts, class Start, class Over>
  static void move(Parts& parts, int64_t& started, const Start& start,
                   const Over& over) {
    for (;;) {
      for (; started < std::min(kSumsUnderWay, std::ssize(parts)); ++started) {
        start(parts[started]);
      }
      int done = 0;
      if (parts.empty()) return;
      TIMEPIPE_CHECK_MPI(
          MPI_Test(&parts.front().request, &done, MPI_STATUS_IGNORE));
      if (done == 0) return;
      over(parts.front());
      parts.pop_front();
      --started;
    }
  }

  void move_out() {
    move(
        sends_, sending_,
        [&](auto& part) {
          TIMEPIPE_CHECK_MPI(MPI_Isend(part.place, static_cast<int>(part.count),
                                       MPI_INT64_T, part.peer,
                                       /*tag=*/0, comm_, &part.request));
        },
        [](const auto&) {});
  }

  // Buffers are taken and left in turn.
  void move_in() {
    const auto buffer = [&](int64_t i) {
      return buffers_.data() + i % kSumsUnderWay * room_;
    };
    move(
        receives_, receiving_,
        [&](auto& part) {
          TIMEPIPE_CHECK_MPI(MPI_Irecv(
              buffer(posted_++), static_cast<int>(part.count), MPI_INT64_T,
              part.peer, /*tag=*/0, comm_, &part.request));
        },
        [&](const auto& part) {
          const int64_t* addends = buffer(added_++);
          int64_t* sums = out_.data() + part.place;
          for (int64_t i = 0; i < part.count; ++i) sums[i] += addends[i];
        });
  }

  const MPI_Comm comm_;
  const std::span<int64_t> out_;
  const int64_t room_;  // elements of a buffer
  std::vector<int64_t> buffers_;
  std::deque<Part<const int64_t*>> sends_;
  std::deque<Part<int64_t>> receives_;   // place: in out_
  int64_t sending_ = 0, receiving_ = 0;  // under way
  int64_t posted_ = 0, added_ = 0;       // of all receives
};

}  // namespace

void check_mpi(const char* expression, int error) {
  if (error == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0, rank = -1;
  MPI_Error_string(error, text, &length);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  LOG(FATAL) << "rank " << rank << ": " << expression << ": " << text;
}

int rank_of(MPI_Comm comm) {
  int rank = 0;
  TIMEPIPE_CHECK_MPI(MPI_Comm_rank(comm, &rank));
  return rank;
}

int size_of(MPI_Comm comm) {
  int size = 0;
  TIMEPIPE_CHECK_MPI(MPI_Comm_size(comm, &size));
  return size;
}

MPI_Comm duplicate(MPI_Comm comm) {
  MPI_Comm copy = MPI_COMM_NULL;
  TIMEPIPE_CHECK_MPI(MPI_Comm_dup(comm, &copy));
  return copy;
}

void release(MPI_Comm comm) { TIMEPIPE_CHECK_MPI(MPI_Comm_free(&comm)); }

MpiTransport::MpiTransport(MPI_Comm comm, std::vector<int> world_ranks,
                           std::shared_ptr<const double> timeout_seconds,
                           const MpiPieces& pieces)
    : rank_(rank_of(comm)),
      world_ranks_(std::move(world_ranks)),
      timeout_seconds_(std::move(timeout_seconds)),
      pieces_(pieces),
      lanes_{duplicate(comm), duplicate(comm), duplicate(comm)},
      sums_(duplicate(comm)) {}

// On the way out of an error requests may be under way, which others may never
// meet.
MpiTransport::~MpiTransport() {
  int finalized = 0;
  MPI_Finalized(&finalized);
  if (finalized != 0 || std::uncaught_exceptions() > 0) return;
  for (const MPI_Comm lane : lanes_) release(lane);
  release(sums_);
}

Request MpiTransport::isend(ConstBytes bytes, int peer, Tag tag) {
  require_peer(rank_, std::ssize(world_ranks_), peer, tag);
  auto request = std::make_unique<SendRequest>(
      tag, world_ranks_[peer], std::ssize(bytes), pieces_.message_bytes);
  const MPI_Comm lane = lanes_[static_cast<std::size_t>(tag.lane)];
  request->post([&](int64_t begin, int size, MPI_Request* piece) {
    TIMEPIPE_CHECK_MPI(MPI_Isend(bytes.data() + begin, size, MPI_BYTE, peer,
                                 wire_number(tag), lane, piece));
  });
  return Request(std::move(request), *timeout_seconds_);
}

Request MpiTransport::irecv(Bytes bytes, int peer, Tag tag) {
  require_peer(rank_, std::ssize(world_ranks_), peer, tag);
  auto request = std::make_unique<ReceiveRequest>(
      tag, world_ranks_[peer], std::ssize(bytes), pieces_.message_bytes);
  const MPI_Comm lane = lanes_[static_cast<std::size_t>(tag.lane)];
  request->post([&](int64_t begin, int size, MPI_Request* piece) {
    TIMEPIPE_CHECK_MPI(MPI_Irecv(bytes.data() + begin, size, MPI_BYTE, peer,
                                 MPI_ANY_TAG, lane, piece));
  });
  return Request(std::move(request), *timeout_seconds_);
}

Request MpiTransport::reduce_scatter_sum(std::span<const int64_t> in,
                                         std::span<const int64_t> counts,
                                         std::span<int64_t> out) {
  require_reduce_scatter(rank_, std::ssize(world_ranks_), in, counts, out);
  return Request(std::make_unique<SumRequest>(sums_, rank_, in, counts, out,
                                              pieces_.summed_elements),
                 *timeout_seconds_);
}

void MpiTransport::progress() {
  int found = 0;
  TIMEPIPE_CHECK_MPI(MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, sums_, &found,
                                MPI_STATUS_IGNORE));
}

}  // namespace timepipe
