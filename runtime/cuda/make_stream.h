#pragma once

#include <memory>

#include "runtime/stream.h"

namespace timepipe::cuda {

// A stream of the device that CUDA numbers so (CUDA_VISIBLE_DEVICES decides
// which that is). Throws InvalidArgument, which says what is missing: a driver,
// a new enough one, a device, one that our kernels run on.
std::shared_ptr<Stream> make_stream(int index);

}  // namespace timepipe::cuda
