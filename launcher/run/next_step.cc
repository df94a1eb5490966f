#include "launcher/run/next_step.h"

namespace timepipe {

void NextStep::begin(int64_t step) {
  begun_ = step;
  batch_ = std::async(std::launch::async, [this, step] {
    Batch batch = read(step);
    trainer_.make_schedule_ahead(batch);
    return batch;
  });
}

Batch NextStep::take(int64_t step) {
  if (begun_ != step || !batch_.valid()) return read(step);
  return batch_.get();
}

Batch NextStep::read(int64_t step) const {
  return data_.batch(step, trainer_.grid().share());
}

}  // namespace timepipe
