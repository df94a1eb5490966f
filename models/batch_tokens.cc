// Lays the tokens of a micro-batch side by side, chunk by chunk.

#include "models/batch_tokens.h"

#include <algorithm>
#include <span>

#include "kernels/cross_entropy.h"
#include "runtime/transfer.h"

namespace timepipe {
namespace {

// So many rows of all sequences before the chunk.
int64_t first_row(const ChunkView& view) {
  return view.rows.members * view.first;
}

}  // namespace

BatchTokens::BatchTokens(Context& ctx, const ModelConfig& config,
                         ChunkedBatch& batch)
    : halo_(config.pre_conv ? config.halo_rows() : 0) {
  const std::vector<MicroBatchShape> shapes = batch.shapes();
  for (int64_t i = 0; i < batch.num_micro_batches(); ++i) {
    micro_batches_.push_back(
        upload_tokens(ctx, batch, i, std::ssize(shapes[i])));
  }
}

BatchTokens::MicroBatch BatchTokens::upload_tokens(Context& ctx,
                                                   ChunkedBatch& batch,
                                                   int64_t micro_batch,
                                                   int64_t chunks) const {
  const int64_t members = batch.members(micro_batch);
  std::vector<Sequence> sequences;
  std::vector<double> scales;
  for (int64_t m = 0; m < members; ++m) {
    const int64_t s = batch.first_sequence(micro_batch) + m;
    scales.push_back(batch.sequences()[s].loss_scale);
    sequences.push_back(batch.take_tokens(s));
  }
  const auto take = [&](int64_t n, DType dtype) {
    return ctx.allocate({n}, dtype, MemoryUse::kBatch);
  };
  const ChunkView last = batch.view(micro_batch, chunks - 1);
  const int64_t rows = first_row(last) + last.rows.count();
  const int64_t halo_rows = members * halo_;
  MicroBatch result{.ids = take(rows, DType::kI64),
                    .targets = take(rows, DType::kI64),
                    .halo_ids = take(chunks * halo_rows, DType::kI64),
                    .loss_scales = take(members, DType::kF64)};
  upload(ctx, std::span<const double>(scales), result.loss_scales);
  for (int64_t c = 0; c < chunks; ++c) {
    const ChunkView view = batch.view(micro_batch, c);
    std::vector<int64_t> ids(view.rows.count(), 0), halo_ids(halo_rows, 0);
    std::vector<int64_t> targets(view.rows.count(), kIgnoredTarget);
    for (int64_t m = 0; m < members; ++m) {
      const Sequence& s = sequences[m];
      const int64_t n = std::clamp<int64_t>(std::ssize(s.ids) - view.first, 0,
                                            view.rows.tokens);
      const int64_t row = m * view.rows.stride;
      if (n == 0) continue;
      std::copy_n(s.ids.begin() + view.first, n, ids.begin() + row);
      std::copy_n(s.targets.begin() + view.first, n, targets.begin() + row);
      if (c > 0) {
        std::copy_n(s.ids.begin() + view.first - halo_, halo_,
                    halo_ids.begin() + m * halo_);
      } else if (halo_ > 0) {
        std::ranges::copy(s.ids_before, halo_ids.begin() + m * halo_);
      }
    }
    const auto put = [&](const std::vector<int64_t>& from, int64_t row,
                         const Tensor& to) {
      upload(ctx, std::span<const int64_t>(from),
             to.slice(row, row + std::ssize(from)));
    };
    put(ids, first_row(view), result.ids);
    put(targets, first_row(view), result.targets);
    put(halo_ids, c * halo_rows, result.halo_ids);
  }
  return result;
}

Tensor BatchTokens::ids(const ChunkView& view) const {
  return micro_batches_[view.micro_batch].ids.slice(
      first_row(view), first_row(view) + view.rows.count());
}

Tensor BatchTokens::targets(const ChunkView& view) const {
  return micro_batches_[view.micro_batch].targets.slice(
      first_row(view), first_row(view) + view.rows.count());
}

Tensor BatchTokens::halo_ids(const ChunkView& view) const {
  const bool looks_back = std::ranges::any_of(
      view.segments, [](const Segment& s) { return !s.starts_document(); });
  if (halo_ == 0 || !looks_back) return {};
  const int64_t n = view.rows.members * halo_;
  return micro_batches_[view.micro_batch].halo_ids.slice(view.chunk * n,
                                                         (view.chunk + 1) * n);
}

}  // namespace timepipe
