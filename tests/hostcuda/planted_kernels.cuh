#pragma once

// Kernels with an error each, which the layer or a sanitizer must find. Those
// with kPlanted are there without it, too.

#include "kernels/cuda/device.h"

namespace timepipe::cuda {

// Blocks of any number of whole warps, unless it says otherwise; out and in
// have an element for each thread of the grid.

// Each warp reads what the next one wrote, with no barrier between.
template <bool kPlanted>
__global__ void no_barrier_after_write(float* out, const float* in);
// The second round writes what others may still read of the first.
template <bool kPlanted>
__global__ void no_barrier_before_reuse(float* out, const float* in);
// Lanes of a warp, with no __syncwarp between.
template <bool kPlanted>
__global__ void no_warp_barrier(float* out, const float* in);
// All blocks write out[0].
__global__ void blocks_write_one_place(float* out, const float* in);
// All blocks add to out[0] without an atomic.
__global__ void blocks_add_without_atomic(int* out);

// Out of bounds by one: of a static or a dynamic array (the launch asks for
// blockDim.x floats), or of out.
__global__ void write_past_static(float* out, const float* in);
__global__ void read_past_static(float* out, const float* in);
__global__ void write_past_dynamic(float* out, const float* in);
__global__ void read_past_dynamic(float* out, const float* in);
__global__ void write_past_global(float* out, const float* in);
__global__ void read_past_global(float* out, const float* in);

// These end the program.
__global__ void exit_before_barrier();
__global__ void barriers_in_both_branches();
__global__ void barrier_in_half_a_warp();
__global__ void exit_before_shuffle(float* out);
__global__ void shuffle_without_caller_in_mask(float* out);
__global__ void shuffle_from_lane_outside_mask(float* out);
__global__ void shuffles_of_different_places(float* out);
__global__ void exit_while_warp_waits(float* out);
__global__ void exit_before_copies_are_there(float* out, const float* in);
__global__ void copy_to_odd_place(const float* in);
__global__ void too_much_static_memory(float* out);

}  // namespace timepipe::cuda
