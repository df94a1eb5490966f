#pragma once

#include <cstdint>
#include <memory>

#include "parallel/exchange.h"

namespace timepipe {

// The sequences of a batch that a data rank takes: micro-batches, each of so
// many consecutive sequences, are dealt like cards.
struct DataShare {
  int rank = 0, ranks = 1;
  int64_t micro_batch_size = 1;

  bool takes(int64_t sequence) const {
    return sequence / micro_batch_size % ranks == rank;
  }
  // Of those that are taken, the micro-batch of a sequence, and back.
  int64_t micro_batch_of(int64_t sequence) const {
    return sequence / micro_batch_size / ranks;
  }
  int64_t first_sequence(int64_t micro_batch) const {
    return (micro_batch * ranks + rank) * micro_batch_size;
  }
};

// World ranks as data x time: time ranks are neighbours (rank = data_rank *
// time_ranks + time_rank), so that a micro-batch stays inside a host if it
// fits.
struct ProcessGrid {
  // Throws InvalidArgument unless world.size() == time_ranks * data_ranks.
  ProcessGrid(Context& ctx, Communicator& world, int time_ranks, int data_ranks,
              int64_t micro_batch_size = 1);

  Communicator& world;
  int time_ranks, data_ranks;
  int time_rank, data_rank;
  int64_t micro_batch_size;
  std::unique_ptr<Communicator> time;  // the ranks that share my sequences
  std::unique_ptr<Exchange> between_all, between_time_ranks;

  DataShare share() const { return {data_rank, data_ranks, micro_batch_size}; }
};

}  // namespace timepipe
