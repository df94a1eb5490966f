#include "launcher/run/signals.h"

#include <algorithm>
#include <cstdint>

#include "runtime/termination.h"

namespace timepipe {

void answer_signals(bool saves) {
  if (!saves) {
    return set_on_signal(OnSignal::kLeave,
                         "leaves at once; nothing is saved without run_dir");
  }
  set_on_signal(OnSignal::kAsk,
                "saves at the end of this step and leaves; again: leaves at "
                "once");
}

int asked_on_any_rank(Communicator& world) {
  const auto all = gather_values(world, int64_t{asked_signal()});
  const auto asked = std::ranges::find_if(all, [](int64_t s) { return s; });
  return asked == all.end() ? 0 : static_cast<int>(*asked);
}

}  // namespace timepipe
