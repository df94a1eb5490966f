#pragma once

#include <string>
#include <vector>

#include "parallel/communicator.h"

namespace timepipe {

// Trains as the configuration at `path` with `overrides` (path=value) says,
// from where its folder's newest checkpoint stands to the last step. Returns
// the exit status: 0 once all steps are done, or 128 + the signal that asked
// for an earlier end. A mistake in what it is given ends all ranks as
// prepare_together() does. Collective.
int train(Communicator& world, const std::string& path,
          const std::vector<std::string>& overrides);

}  // namespace timepipe
