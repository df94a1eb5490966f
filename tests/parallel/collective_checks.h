#pragma once

// Checks of collectives and of groups; see communicator_checks.h.

#include "parallel/communicator.h"

namespace timepipe::testing {

void reduce_scatter_is_the_sum(Communicator& comm);

void all_gather_concatenates(Communicator& comm);

void collectives_refuse_wrong_sizes(Communicator& comm);

// The next step's messages may come while a reduction is under way.
void operations_under_way_together(Communicator& comm);

void split_groups_ranks_of_a_color(Communicator& comm);

void blocked_collective_tells_which(Communicator& comm);

}  // namespace timepipe::testing
