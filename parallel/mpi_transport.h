#pragma once

// Messages and sums by MPI, and how its calls are checked. Private to
// parallel/.

#include <mpi.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "parallel/transport.h"

namespace timepipe {

// Ends the program with this rank, the expression and MPI's text unless the
// error is MPI_SUCCESS.
void check_mpi(const char* expression, int error);

#define TIMEPIPE_CHECK_MPI(expression) check_mpi(#expression, (expression))

int rank_of(MPI_Comm comm);
int size_of(MPI_Comm comm);
// The ranks of `comm` with other messages. Collective.
MPI_Comm duplicate(MPI_Comm comm);
void release(MPI_Comm comm);

// Each lane, and the sums, have a communicator of MPI to themselves, so that
// none waits behind the other.
class MpiTransport final : public Transport {
 public:
  // world_ranks: those of comm's ranks. Collective.
  MpiTransport(MPI_Comm comm, std::vector<int> world_ranks,
               std::shared_ptr<const double> timeout_seconds,
               const MpiPieces& pieces);
  ~MpiTransport() override;
  MpiTransport(const MpiTransport&) = delete;
  MpiTransport& operator=(const MpiTransport&) = delete;

  Request isend(ConstBytes bytes, int peer, Tag tag) override;
  Request irecv(Bytes bytes, int peer, Tag tag) override;
  Request reduce_scatter_sum(std::span<const int64_t> in,
                             std::span<const int64_t> counts,
                             std::span<int64_t> out) override;
  void progress() override;

 private:
  const int rank_;
  const std::vector<int> world_ranks_;
  const std::shared_ptr<const double> timeout_seconds_;
  const MpiPieces pieces_;
  const std::array<MPI_Comm, kLanes> lanes_;
  const MPI_Comm sums_;
};

}  // namespace timepipe
