#pragma once

#include "kernels/cuda/device.h"
#include "kernels/ttt_shape.h"

namespace timepipe::cuda::ttt {

// What the sums of all heads [members, H, head_sums_size()] give: dln_w and
// dln_b [H, D], each head's own over members in order, and dtok [places] over
// members and their heads in order. A thread for each of 2*H*D + places
// results.
template <class T>
__global__ void ttt_write_sums(TttShape shape, int64_t members, int64_t places,
                               const double* sums, T* dln_w, T* dln_b, T* dtok);

}  // namespace timepipe::cuda::ttt
