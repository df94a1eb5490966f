#pragma once

#include <cstdint>
#include <vector>

#include "parallel/exchange.h"

namespace timepipe {

// Where a number was computed: in a slot of a rank.
struct SlotPlace {
  int rank;
  int64_t slot;
};

// The numbers of all ranks in one order: element i of the result [places] is
// that in places[i]. slots: f64, this rank's. places: the same on all ranks.
// Collective.
Tensor gather_slots(Context& ctx, Exchange& world, const Tensor& slots,
                    const std::vector<SlotPlace>& places);

}  // namespace timepipe
