#pragma once

#include "kernels/cuda/segments.cuh"
#include "kernels/cuda/table.h"

namespace timepipe::cuda {

// A chunk's segments in the memory of the device, for the kernels that are
// enqueued as long as this lives.
class DeviceSegments {
 public:
  DeviceSegments(Context& ctx, Segments segments) : table_(ctx, segments) {}

  SegmentTable table() const { return {table_.rows(), table_.size()}; }

 private:
  DeviceTable<Segment> table_;
};

}  // namespace timepipe::cuda
