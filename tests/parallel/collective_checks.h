#pragma once

// Checks of collectives and of groups; see communicator_checks.h.

#include <cstdint>
#include <vector>

#include "tests/parallel/message_checks.h"

namespace timepipe::testing {

// Pieces of uneven length, some of them empty; `shift` deals them out.
std::vector<int64_t> uneven_counts(int ranks, int shift);

int64_t sum_of(const std::vector<int64_t>& counts, int ranks);

// Numbers that need all 64 bits.
int64_t addend(int rank, int64_t i);

void reduce_scatter_is_the_sum(Communicator& comm);

void all_gather_concatenates(Communicator& comm);

void collectives_refuse_wrong_sizes(Communicator& comm);

// The next step's messages may come while a reduction is under way.
void operations_under_way_together(Communicator& comm);

void split_groups_ranks_of_a_color(Communicator& comm);

void blocked_collective_tells_which(Communicator& comm);

}  // namespace timepipe::testing
