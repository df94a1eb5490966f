#pragma once

#include "parallel/communicator.h"

namespace timepipe {

// What a signal does to a run from here on: one that saves does so at the end
// of its step and leaves, another leaves at once.
void answer_signals(bool saves);

// The signal that the lowest of the asked ranks got; 0 if none was asked.
// Collective.
int asked_on_any_rank(Communicator& world);

}  // namespace timepipe
