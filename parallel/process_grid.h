#pragma once

#include <memory>

#include "parallel/communicator.h"

namespace timepipe {

// World ranks as data x time: time ranks are neighbours (rank = data_rank *
// time_ranks + time_rank), so that a sequence stays inside a host if it fits.
struct ProcessGrid {
  // Throws InvalidArgument unless world.size() == time_ranks * data_ranks.
  ProcessGrid(Communicator& world, int time_ranks, int data_ranks);

  Communicator& world;
  int time_ranks, data_ranks;
  int time_rank, data_rank;
  std::unique_ptr<Communicator> time;  // the ranks that share my sequences
};

}  // namespace timepipe
