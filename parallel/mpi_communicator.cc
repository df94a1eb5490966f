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
#include "parallel/mpi_transport.h"

namespace timepipe {
namespace {

constexpr int kBlockedStatus = 75;  // EX_TEMPFAIL: worth another try

int to_int(const std::string& what, int64_t value) {
  require(value <= std::numeric_limits<int>::max(), what, ": ", value,
          ", expected at most 2^31 - 1, as many as MPI counts");
  return static_cast<int>(value);
}

void require_tags() {
  int* largest = nullptr;
  int found = 0;
  TIMEPIPE_CHECK_MPI(
      MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_TAG_UB, &largest, &found));
  require(found != 0 && *largest >= kMessageNumbers - 1,
          "this MPI allows tags up to ", found != 0 ? *largest : 0,
          ", expected at least ", kMessageNumbers - 1);
}

// Keeps the arrays that MPI reads until it is done.
class CollectiveRequest final : public Request::Impl {
 public:
  explicit CollectiveRequest(const char* name) : name_(name) {}
  MPI_Request* handle() { return &request_; }

  bool test() override {
    int done = 0;
    TIMEPIPE_CHECK_MPI(MPI_Test(&request_, &done, MPI_STATUS_IGNORE));
    return done != 0;
  }
  int rank() const override { return rank_of(MPI_COMM_WORLD); }
  std::string describe() const override { return describe_collective(name_); }

  std::vector<int> counts, displacements;

 private:
  const char* const name_;
  MPI_Request request_ = MPI_REQUEST_NULL;
};

class MpiCommunicator : public Communicator {
 public:
  MpiCommunicator(MPI_Comm comm, const std::vector<int>& world_ranks,
                  const std::shared_ptr<double>& timeout_seconds,
                  const MpiPieces& pieces)
      : comm_(comm),
        transport_(std::make_unique<MpiTransport>(comm, world_ranks,
                                                  timeout_seconds, pieces)),
        rank_(rank_of(comm)),
        world_ranks_(world_ranks),
        timeout_seconds_(timeout_seconds),
        pieces_(pieces) {}

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(world_ranks_.size()); }

  Request all_gather(ConstBytes in, std::span<const int64_t> counts,
                     Bytes out) override;
  std::unique_ptr<Communicator> split(int color) override;

  void set_timeout(double seconds) override { *timeout_seconds_ = seconds; }
  double timeout_seconds() const override { return *timeout_seconds_; }
  Transport& transport() override { return *transport_; }

 protected:
  Request started(std::unique_ptr<CollectiveRequest> request) const {
    return Request(std::move(request), *timeout_seconds_);
  }

  const MPI_Comm comm_;  // collectives
  std::unique_ptr<MpiTransport> transport_;

 private:
  const int rank_;
  const std::vector<int> world_ranks_;
  const std::shared_ptr<double> timeout_seconds_;
  const MpiPieces pieces_;
};

// Pieces are counted in the largest unit that all share, up to a page, so that
// MPI's int counts reach beyond 2 GiB of weights.
Request MpiCommunicator::all_gather(ConstBytes in,
                                    std::span<const int64_t> counts,
                                    Bytes out) {
  require_all_gather(rank(), size(), in, counts, out);
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
    transport_.reset();
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
  return std::make_unique<MpiSplit>(comm, world_ranks, timeout_seconds_,
                                    pieces_);
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
    transport_.reset();
    TIMEPIPE_CHECK_MPI(MPI_Finalize());
  }
};

// A launcher that speaks another protocol than this MPI's gives that many
// programs of one rank each, all of them rank 0.
void require_as_launched(int ranks) {
  const Launched says = launched();
  require(!says.by_launcher() || says.processes == ranks, says.variable, ": ",
          says.processes, ", but MPI started with ", ranks,
          " ranks: start the program with the mpirun of the MPI that it "
          "was built with, or with srun --mpi=pmix");
}

}  // namespace

std::unique_ptr<Communicator> make_mpi_communicator(int* argc, char*** argv,
                                                    const MpiPieces& pieces) {
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
      MPI_COMM_WORLD, ranks, std::make_shared<double>(kDefaultTimeoutSeconds),
      pieces);
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
