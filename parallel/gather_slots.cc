#include "parallel/gather_slots.h"

#include <span>

#include "kernels/rows.h"
#include "runtime/transfer.h"

namespace timepipe {
namespace {

Tensor take(Context& ctx, const Tensor& from,
            const std::vector<int64_t>& index) {
  Tensor where = ctx.allocate({std::ssize(index)}, DType::kI64);
  upload(ctx, std::span<const int64_t>(index), where);
  Tensor to = ctx.allocate(where.shape(), from.dtype());
  take_elements(ctx, from, where, to);
  return to;
}

}  // namespace

Tensor gather_slots(Context& ctx, Exchange& world, const Tensor& slots,
                    const std::vector<SlotPlace>& places) {
  std::vector<int64_t> counts(world.size());
  std::vector<int64_t> mine;
  for (const SlotPlace& place : places) {
    ++counts[place.rank];
    if (place.rank == world.rank()) mine.push_back(place.slot);
  }
  const Tensor own =
      mine.empty() ? ctx.allocate({0}, DType::kF64) : take(ctx, slots, mine);
  Tensor all = ctx.allocate({std::ssize(places)}, DType::kF64);
  world.all_gather(own, counts, all);
  std::vector<int64_t> next(counts.size());  // of each rank, in `all`
  for (std::size_t r = 1; r < next.size(); ++r) {
    next[r] = next[r - 1] + counts[r - 1];
  }
  std::vector<int64_t> order;
  order.reserve(places.size());
  for (const SlotPlace& place : places) order.push_back(next[place.rank]++);
  return take(ctx, all, order);
}

}  // namespace timepipe
