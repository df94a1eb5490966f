// Sums of squares and hashes of the blocks of parameters, on a device.

#include "kernels/parameter_blocks.h"

#include <vector>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/parameter_blocks.cuh"
#include "kernels/cuda/table.h"

namespace timepipe::cuda {
namespace {

// Blocks are found on the device: there are far more of them than parameters.
class DeviceLayout {
 public:
  DeviceLayout(Context& ctx, const ParameterLayout& layout)
      : spans_(ctx, spans_of(layout)) {}

  ParameterTable table() const { return {spans_.rows(), spans_.size()}; }

 private:
  static std::vector<ParameterSpan> spans_of(const ParameterLayout& layout) {
    constexpr int64_t kBlock = ParameterBlock::kElements;
    std::vector<ParameterSpan> spans;
    int64_t block = 0;
    for (const Parameter& p : layout.parameters()) {
      spans.push_back({block, p.offset, p.count});
      block += (p.count + kBlock - 1) / kBlock;
    }
    return spans;
  }

  DeviceTable<ParameterSpan> spans_;
};

}  // namespace

void block_square_sums(Context& ctx, const ParameterLayout& layout,
                       int64_t first, int64_t last, const Tensor& shard,
                       Tensor& sums) {
  const DeviceLayout uploaded(ctx, layout);
  const int64_t begin = layout.block(first).offset;
  dispatch(shard.dtype(), [&](auto zero) {
    using T = decltype(zero);
    launch<&block_square_sums_kernel<T>>(
        ctx, last - first, kSquareThreads, uploaded.table(), first,
        device_elements<T>(shard), begin, device_elements<double>(sums));
  });
}

void block_hashes(Context& ctx, const ParameterLayout& layout, int64_t first,
                  int64_t last, const Tensor& flat, Tensor& hashes) {
  if (first == last) return;
  const DeviceLayout uploaded(ctx, layout);
  constexpr int64_t kHashed = kHashThreads / kHashLanes;  // by a block
  const int64_t n = last - first;
  launch<&block_hashes_kernel>(
      ctx, (n + kHashed - 1) / kHashed, kHashThreads, uploaded.table(), first,
      n, reinterpret_cast<const unsigned char*>(ElementsAccess::memory(flat)),
      size_of(flat.dtype()),
      reinterpret_cast<uint64_t*>(device_elements<int64_t>(hashes)));
}

}  // namespace timepipe::cuda
