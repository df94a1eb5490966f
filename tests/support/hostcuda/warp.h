#pragma once

// What the lanes of a warp do together. The names of the functions that call
// these and their places are those that messages give.

#include <cstdint>

namespace hostcuda {

// A lane's `value` for each lane, or itself for those that name no other:
// `source` is a lane of the mask.
uint64_t shuffle(uint64_t value, unsigned source, uint32_t mask,
                 const char* operation, const char* file, int line);

void warp_barrier(uint32_t mask, const char* file, int line);

// Over all 32 lanes, in the order of five steps that pair lanes 16, 8, 4, 2 and
// 1 apart: the bits that as many __shfl_xor_sync give, at the price of one.
float warp_sum(float value, const char* file, int line);
double warp_sum(double value, const char* file, int line);
float warp_max(float value, const char* file, int line);
double warp_max(double value, const char* file, int line);

}  // namespace hostcuda
