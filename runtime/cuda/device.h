#pragma once

namespace timepipe::cuda {

// Makes a device the one of this thread and returns its index. Throws
// InvalidArgument, which says what is missing, unless it is there and can run
// our kernels.
int require_device(int index);

}  // namespace timepipe::cuda
