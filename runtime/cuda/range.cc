#include "runtime/cuda/range.h"

#include <nvtx3/nvToolsExt.h>

namespace timepipe::cuda {

OperationRange::OperationRange(const char* name) { nvtxRangePushA(name); }

OperationRange::~OperationRange() { nvtxRangePop(); }

}  // namespace timepipe::cuda
