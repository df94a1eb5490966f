#pragma once

namespace timepipe::cuda {

// Makes a device the one of this thread. Throws InvalidArgument, which says
// what is missing, unless it is there and can run our kernels.
void require_device(int index);

}  // namespace timepipe::cuda
