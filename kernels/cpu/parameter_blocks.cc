// Sums of squares and hashes of the blocks of parameters, on host memory.

#include "kernels/parameter_blocks.h"

#include <xxhash.h>

#include <array>
#include <bit>
#include <numeric>

#include "kernels/cpu/cpu_kernels.h"
#include "runtime/parallel_for.h"

namespace timepipe::cpu {
namespace {

// In eight sums, element i in sum i % 8, so that the compiler may add in
// vectors of any width without changing the order.
template <class T>
double sum_of_squares(const T* x, int64_t n) {
  std::array<double, 8> sums{};
  for (int64_t i = 0; i < n; ++i) {
    const double value = x[i];
    sums[i % 8] += value * value;
  }
  return std::accumulate(sums.begin(), sums.end(), 0.);
}

}  // namespace

void block_square_sums(Context&, const ParameterLayout& layout, int64_t first,
                       int64_t last, const Tensor& shard, Tensor& sums) {
  dispatch(shard.dtype(), [&](auto zero) {
    const auto* x = elements<decltype(zero)>(shard);
    double* out = elements<double>(sums);
    const int64_t begin = layout.block(first).offset;
    parallel_for(last - first, [&](int64_t i) {
      const ParameterBlock block = layout.block(first + i);
      out[i] = sum_of_squares(x + block.offset - begin, block.count);
    });
  });
}

void block_hashes(Context&, const ParameterLayout& layout, int64_t first,
                  int64_t last, const Tensor& flat, Tensor& hashes) {
  const std::byte* bytes = element_bytes(flat).data();
  const int64_t size = size_of(flat.dtype());
  int64_t* out = elements<int64_t>(hashes);
  parallel_for(last - first, [&](int64_t i) {
    const ParameterBlock block = layout.block(first + i);
    out[i] = std::bit_cast<int64_t>(static_cast<uint64_t>(
        XXH64(bytes + block.offset * size, block.count * size, 0)));
  });
}

}  // namespace timepipe::cpu
