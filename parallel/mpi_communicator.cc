// Ranks as processes of MPI.

#include <glog/logging.h>
#include <mpi.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <limits>
#include <numeric>
#include <thread>
#include <vector>

#include "parallel/communicator.h"
#include "parallel/launched.h"
#include "parallel/transport.h"

namespace timepipe {
namespace {

constexpr int kBlockedStatus = 75;  // EX_TEMPFAIL: worth another try

void check_mpi(const char* expression, int error) {
  if (error == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0, rank = -1;
  MPI_Error_string(error, text, &length);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  LOG(FATAL) << "rank " << rank << ": " << expression << ": " << text;
}

#define TIMEPIPE_CHECK_MPI(expression) check_mpi(#expression, (expression))

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

int to_int(const std::string& what, int64_t value) {
  require(value <= std::numeric_limits<int>::max(),
          what + ": " + std::to_string(value) +
              ", expected at most 2^31 - 1, as many as MPI counts");
  return static_cast<int>(value);
}

void require_tags() {
  int* largest = nullptr;
  int found = 0;
  TIMEPIPE_CHECK_MPI(
      MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_TAG_UB, &largest, &found));
  require(found != 0 && *largest >= kMessageNumbers - 1,
          "this MPI allows tags up to " +
              std::to_string(found != 0 ? *largest : 0) +
              ", expected at least " + std::to_string(kMessageNumbers - 1));
}

MPI_Comm duplicate(MPI_Comm comm) {
  MPI_Comm copy = MPI_COMM_NULL;
  TIMEPIPE_CHECK_MPI(MPI_Comm_dup(comm, &copy));
  return copy;
}

class MpiRequest : public Request::Impl {
 public:
  MPI_Request* handle() { return &request_; }

  bool test() final {
    int done = 0;
    MPI_Status status;
    const int error = MPI_Test(&request_, &done, &status);
    if (error == MPI_SUCCESS && done == 0) return false;
    finish(error, status);
    return true;
  }
  int rank() const final { return rank_of(MPI_COMM_WORLD); }

 private:
  virtual void finish(int error, const MPI_Status&) {
    check_mpi("MPI_Test", error);
  }

  MPI_Request request_ = MPI_REQUEST_NULL;
};

class SendRequest final : public MpiRequest {
 public:
  SendRequest(Tag tag, int peer) : tag_(tag), peer_(peer) {}
  std::string describe() const override { return describe_send(tag_, peer_); }

 private:
  const Tag tag_;
  const int peer_;
};

// Takes the next message, whatever its tag, and checks number and size. That
// comes too late for one that is both larger than its place and too large to be
// buffered: Open MPI 4.1 writes past the end (its get protocol copies what the
// sender has, seen over shared memory and TCP).
class ReceiveRequest final : public MpiRequest {
 public:
  ReceiveRequest(Tag tag, int peer, int64_t size)
      : tag_(tag), peer_(peer), size_(size) {}
  std::string describe() const override {
    return describe_receive(tag_, peer_);
  }

 private:
  void finish(int error, const MPI_Status& status) override {
    int error_class = MPI_SUCCESS, received = 0;
    MPI_Error_class(error, &error_class);
    if (error_class != MPI_ERR_TRUNCATE) check_mpi("MPI_Test", error);
    TIMEPIPE_CHECK_MPI(MPI_Get_count(&status, MPI_BYTE, &received));
    // UCX doesn't tell the size of a message that is too large.
    require(error == MPI_SUCCESS || received > size_,
            describe() + ": more bytes sent than the " + std::to_string(size_) +
                " expected");
    require_received(tag_, peer_, size_, status.MPI_TAG, received);
  }

  const Tag tag_;
  const int peer_;
  const int64_t size_;
};

// Keeps the arrays that MPI reads until it is done.
class CollectiveRequest final : public MpiRequest {
 public:
  explicit CollectiveRequest(const char* name) : name_(name) {}
  std::string describe() const override { return describe_collective(name_); }

  std::vector<int> counts, displacements;

 private:
  const char* const name_;
};

class MpiCommunicator : public Communicator {
 public:
  MpiCommunicator(MPI_Comm comm, std::vector<int> world_ranks,
                  std::shared_ptr<double> timeout_seconds)
      : comm_(comm),
        gradients_(duplicate(comm)),
        rank_(rank_of(comm)),
        world_ranks_(std::move(world_ranks)),
        timeout_seconds_(std::move(timeout_seconds)) {}

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(world_ranks_.size()); }

  Request isend(ConstBytes bytes, int peer, Tag tag) override;
  Request irecv(Bytes bytes, int peer, Tag tag) override;
  Request reduce_scatter_sum(std::span<const int64_t> in,
                             std::span<const int64_t> counts,
                             std::span<int64_t> out) override;
  Request all_gather(ConstBytes in, std::span<const int64_t> counts,
                     Bytes out) override;
  std::unique_ptr<Communicator> split(int color) override;

  void progress() override {
    int found = 0;
    TIMEPIPE_CHECK_MPI(MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, comm_, &found,
                                  MPI_STATUS_IGNORE));
  }
  int64_t bytes_sent() const override { return bytes_sent_; }
  void set_timeout(double seconds) override { *timeout_seconds_ = seconds; }

 protected:
  Request started(std::unique_ptr<MpiRequest> request) const {
    return Request(std::move(request), *timeout_seconds_);
  }
  MPI_Comm direction(Tag tag) const {
    return tag.gradient ? gradients_ : comm_;
  }
  static void release(MPI_Comm comm) {
    TIMEPIPE_CHECK_MPI(MPI_Comm_free(&comm));
  }

  const MPI_Comm comm_;  // forward messages and collectives
  const MPI_Comm gradients_;

 private:
  const int rank_;
  const std::vector<int> world_ranks_;
  const std::shared_ptr<double> timeout_seconds_;
  int64_t bytes_sent_ = 0;
};

Request MpiCommunicator::isend(ConstBytes bytes, int peer, Tag tag) {
  require_peer(*this, peer, tag);
  const int size = to_int(tag.to_string() + ": bytes", std::ssize(bytes));
  auto request = std::make_unique<SendRequest>(tag, world_ranks_[peer]);
  TIMEPIPE_CHECK_MPI(MPI_Isend(bytes.data(), size, MPI_BYTE, peer,
                               wire_number(tag), direction(tag),
                               request->handle()));
  bytes_sent_ += size;
  return started(std::move(request));
}

Request MpiCommunicator::irecv(Bytes bytes, int peer, Tag tag) {
  require_peer(*this, peer, tag);
  const int size = to_int(tag.to_string() + ": bytes", std::ssize(bytes));
  auto request =
      std::make_unique<ReceiveRequest>(tag, world_ranks_[peer], size);
  TIMEPIPE_CHECK_MPI(MPI_Irecv(bytes.data(), size, MPI_BYTE, peer, MPI_ANY_TAG,
                               direction(tag), request->handle()));
  return started(std::move(request));
}

Request MpiCommunicator::reduce_scatter_sum(std::span<const int64_t> in,
                                            std::span<const int64_t> counts,
                                            std::span<int64_t> out) {
  require_reduce_scatter(*this, in, counts, out);
  to_int("reduce_scatter_sum: elements", std::ssize(in));
  auto request = std::make_unique<CollectiveRequest>("reduce_scatter_sum");
  request->counts.assign(counts.begin(), counts.end());
  TIMEPIPE_CHECK_MPI(MPI_Ireduce_scatter(in.data(), out.data(),
                                         request->counts.data(), MPI_INT64_T,
                                         MPI_SUM, comm_, request->handle()));
  return started(std::move(request));
}

// Pieces are counted in the largest unit that all share, up to a page, so that
// MPI's int counts reach beyond 2 GiB of weights.
Request MpiCommunicator::all_gather(ConstBytes in,
                                    std::span<const int64_t> counts,
                                    Bytes out) {
  require_all_gather(*this, in, counts, out);
  const int64_t unit =
      std::accumulate(counts.begin(), counts.end(), int64_t{4096},
                      [](int64_t a, int64_t b) { return std::gcd(a, b); });
  to_int("all_gather: units of " + std::to_string(unit) + " bytes",
         std::ssize(out) / unit);
  auto request = std::make_unique<CollectiveRequest>("all_gather");
  int begin = 0;
  for (const int64_t count : counts) {
    request->counts.push_back(static_cast<int>(count / unit));
    request->displacements.push_back(begin);
    begin += request->counts.back();
  }
  std::byte* place = out.data() + request->displacements[rank_] * unit;
  if (in.data() != place) std::copy(in.begin(), in.end(), place);

  MPI_Datatype type = MPI_DATATYPE_NULL;
  TIMEPIPE_CHECK_MPI(
      MPI_Type_contiguous(static_cast<int>(unit), MPI_BYTE, &type));
  TIMEPIPE_CHECK_MPI(MPI_Type_commit(&type));
  TIMEPIPE_CHECK_MPI(MPI_Iallgatherv(
      MPI_IN_PLACE, 0, type, out.data(), request->counts.data(),
      request->displacements.data(), type, comm_, request->handle()));
  TIMEPIPE_CHECK_MPI(MPI_Type_free(&type));  // once the collective is done
  return started(std::move(request));
}

class MpiSplit final : public MpiCommunicator {
 public:
  using MpiCommunicator::MpiCommunicator;

  ~MpiSplit() override {
    int finalized = 0;
    MPI_Finalized(&finalized);
    if (finalized != 0 || std::uncaught_exceptions() > 0) return;
    release(gradients_);
    release(comm_);
  }
};

std::unique_ptr<Communicator> MpiCommunicator::split(int color) {
  // Before MPI_Comm_split, which has no deadline: all ranks have come.
  const std::vector<int> members = ranks_of_color(*this, color);
  std::vector<int> world_ranks = members;
  for (int& rank : world_ranks) rank = world_ranks_[rank];
  MPI_Comm comm = MPI_COMM_NULL;
  const int group = members.front();  // a color: any sign, MPI's are >= 0
  TIMEPIPE_CHECK_MPI(MPI_Comm_split(comm_, group, rank_, &comm));
  return std::make_unique<MpiSplit>(comm, std::move(world_ranks),
                                    timeout_seconds_);
}

class MpiWorld final : public MpiCommunicator {
 public:
  using MpiCommunicator::MpiCommunicator;

  // MPI_Finalize waits for all ranks and has no deadline. On the way out of an
  // error they may never come; else this waits for them with the deadline.
  ~MpiWorld() override {
    if (std::uncaught_exceptions() > 0) return;
    try {
      auto barrier = std::make_unique<CollectiveRequest>("the end");
      TIMEPIPE_CHECK_MPI(MPI_Ibarrier(comm_, barrier->handle()));
      started(std::move(barrier)).wait();
    } catch (const Blocked& blocked) {
      LOG(ERROR) << blocked.what();
      abort_all_ranks(kBlockedStatus);
    }
    release(gradients_);
    TIMEPIPE_CHECK_MPI(MPI_Finalize());
  }
};

// A launcher that speaks another protocol than this MPI's gives that many
// programs of one rank each, all of them rank 0.
void require_as_launched(int ranks) {
  const Launched says = launched();
  require(!says.by_launcher() || says.processes == ranks,
          std::string(says.variable) + ": " + std::to_string(says.processes) +
              ", but MPI started with " + std::to_string(ranks) +
              " ranks: start the program with the mpirun of the MPI that it "
              "was built with, or with srun --mpi=pmix");
}

}  // namespace

std::unique_ptr<Communicator> make_mpi_communicator(int* argc, char*** argv) {
  int initialized = 0, provided = MPI_THREAD_SINGLE;
  TIMEPIPE_CHECK_MPI(MPI_Initialized(&initialized));
  require(initialized == 0, "make_mpi_communicator: called a second time");
  // Open MPI sees by itself only that its own ranks are more than the cores.
  setenv("OMPI_MCA_mpi_yield_when_idle", "1", /*overwrite=*/0);
  TIMEPIPE_CHECK_MPI(
      MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided));
  CHECK_GE(provided, MPI_THREAD_FUNNELED) << "of MPI_Init_thread";
  TIMEPIPE_CHECK_MPI(
      MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
  std::vector<int> ranks(size_of(MPI_COMM_WORLD));
  std::iota(ranks.begin(), ranks.end(), 0);
  require_as_launched(static_cast<int>(ranks.size()));
  require_tags();
  return std::make_unique<MpiWorld>(
      MPI_COMM_WORLD, std::move(ranks),
      std::make_shared<double>(kDefaultTimeoutSeconds));
}

bool started_by_mpi() {
  const Launched says = launched();
  return says.by_launcher() ? says.processes > 1
                            : std::getenv("PMIX_RANK") != nullptr;
}

void abort_all_ranks(int exit_status) {
  std::thread([exit_status] {
    std::this_thread::sleep_for(std::chrono::seconds(3));
    _exit(exit_status);
  }).detach();
  std::fflush(nullptr);
  std::signal(SIGTERM, SIG_IGN);  // this rank has said its line
  int initialized = 0, finalized = 0;
  MPI_Initialized(&initialized);
  MPI_Finalized(&finalized);
  if (initialized != 0 && finalized == 0) {
    MPI_Abort(MPI_COMM_WORLD, exit_status);
  }
  _exit(exit_status);
}

}  // namespace timepipe
