#include "parallel/process_grid.h"

#include <string>

namespace timepipe {

ProcessGrid::ProcessGrid(Context& ctx, Communicator& world, int time_ranks,
                         int data_ranks, int64_t micro_batch_size)
    : world(world),
      time_ranks(time_ranks),
      data_ranks(data_ranks),
      micro_batch_size(micro_batch_size) {
  require(time_ranks > 0 && data_ranks > 0 &&
              int64_t{time_ranks} * data_ranks == world.size(),
          "time_ranks x data_ranks: ", time_ranks, " x ", data_ranks,
          ", expected a product of ", world.size(), ", the number of ranks");
  time_rank = world.rank() % time_ranks;
  data_rank = world.rank() / time_ranks;
  time = world.split(data_rank);
  between_all = make_exchange(ctx, world);
  between_time_ranks = make_exchange(ctx, *time);
}

}  // namespace timepipe
