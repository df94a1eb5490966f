#pragma once

// Sums of columns over any number of rows, in f64: those of 32 rows each, then
// their sum (column_sums.h launches both).

#include "kernels/cuda/device.h"

namespace timepipe::cuda {

// Rows whose sum is one row of partials.
inline constexpr int64_t kPartialRows = 32;
// Columns that a warp takes, one a lane.
inline constexpr int64_t kPartialColumns = 32;

// The partials of x [N,C] itself.
template <class T>
__global__ void column_partials_kernel(int64_t N, int64_t C, const T* x,
                                       double* partials);

// out[c] = (out[c] +) the sum of partials[g, c] over g in [0, G): eight sums of
// every eighth row in order, then these in order. A block of 256 threads takes
// 32 columns.
template <class T>
__global__ void add_partials_kernel(int64_t G, int64_t C,
                                    const double* partials, T* out, bool adds);

}  // namespace timepipe::cuda
