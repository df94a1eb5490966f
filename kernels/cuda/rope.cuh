#pragma once

// Rotary position embedding from a table of the angles [positions, D/2, 2].

#include "kernels/cuda/device.h"

namespace timepipe::cuda {

// Cosine and sine (of the other sign to turn back) of each pair's angle.
template <class T>
__global__ void rope_table_kernel(int64_t positions, int64_t D, double theta,
                                  double sign, T* table);

// A warp takes a row; x: [rows, heads * D].
template <class A>
__global__ void rope_kernel(int64_t rows, int64_t heads, int64_t D,
                            int64_t mini_batch, int64_t place,
                            const Computed<A>* table, A* x);

}  // namespace timepipe::cuda
