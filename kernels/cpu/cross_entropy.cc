// Output embedding and loss on host memory, in tiles of rows, so that all
// logits never exist at once.

#include "kernels/cross_entropy.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <type_traits>

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/elementary.h"
#include "kernels/cpu/sums.h"
#include "runtime/parallel_for.h"

namespace timepipe::cpu {
namespace {

// NaN is passed over: it shows in the sum of the exponentials.
template <class T>
T largest(int64_t n, const T* z) {
  T lanes[kLanes];
  std::fill_n(lanes, kLanes, z[0]);
  over_lanes(n, [&](int64_t i, int64_t l) {
    lanes[l] = z[i] > lanes[l] ? z[i] : lanes[l];
  });
  return *std::max_element(lanes, lanes + kLanes);
}

// -log softmax(z)[target].
template <class T>
double row_loss(int64_t vocab, const T* z, int64_t target) {
  if (target == kIgnoredTarget) return 0;
  const T top = largest(vocab, z);
  const double sum =
      sum_over(vocab, [=](int64_t v) { return exp(z[v] - top); });
  return std::log(sum) + (static_cast<double>(top) - z[target]);
}

// The same; z becomes its gradient, scale (softmax(z) - onehot(target)), with
// the values that it has when stored as A.
template <class A, class T>
double row_gradient(int64_t vocab, T* z, int64_t target, double scale) {
  if (target == kIgnoredTarget) {
    std::fill_n(z, vocab, T(0));
    return 0;
  }
  const T top = largest(vocab, z), at_target = z[target];
  const double sum =
      sum_over(vocab, [=](int64_t v) { return z[v] = exp(z[v] - top); });
  const T factor = static_cast<T>(scale / sum);
  for (int64_t v = 0; v < vocab; ++v) z[v] *= factor;
  z[target] -= static_cast<T>(scale);
  if constexpr (!std::is_same_v<A, T>) {
    for (int64_t v = 0; v < vocab; ++v) z[v] = static_cast<A>(z[v]);
  }
  return std::log(sum) + (static_cast<double>(top) - at_target);
}

// Rows [row, row + logits.dim(0)) of a chunk. Their losses, and in place of the
// logits the gradients if `with_gradient`.
template <class A>
void tile_losses(const CrossEntropy& args, int64_t row, Tensor& logits,
                 bool with_gradient, double* losses) {
  using T = Wide<A>;
  const int64_t vocab = logits.dim(1), stride = args.rows.stride;
  const int64_t* targets = elements<int64_t>(args.targets);
  const double* scales = elements<double>(args.scales);
  T* z = elements<T>(logits);
  parallel_for(logits.dim(0), [=](int64_t r) {
    const int64_t target = targets[row + r];
    losses[r] = with_gradient ? row_gradient<A>(vocab, z + r * vocab, target,
                                                scales[(row + r) / stride])
                              : row_loss(vocab, z + r * vocab, target);
  });
}

// Adds the sum of a tile's losses to that of its member, or of each of them its
// part.
void add_losses(const ChunkRows& rows, int64_t row, int64_t end,
                const double* losses, double* sums) {
  while (row < end) {
    const int64_t member = row / rows.stride;
    const int64_t piece = std::min(end, (member + 1) * rows.stride) - row;
    double sum = 0;
    for (int64_t r = 0; r < piece; ++r) sum += losses[r];
    sums[member] += sum;
    losses += piece;
    row += piece;
  }
}

}  // namespace

void cross_entropy(Context& ctx, const CrossEntropy& args, Tensor& losses,
                   Tensor* dx, Tensor* dtable) {
  const int64_t rows = args.x.dim(0), vocab = args.table.dim(0);
  const int64_t tile_rows = std::min(rows, cross_entropy_tile_rows(vocab));
  const Tensor table = widened(ctx, args.table), all_x = widened(ctx, args.x);
  const Tensor memory = ctx.allocate({tile_rows, vocab}, table.dtype());
  Tensor row_losses = ctx.allocate({tile_rows}, DType::kF64);
  if (dtable != nullptr && rows == 0 && !dtable->empty()) {
    std::ranges::fill(element_bytes(*dtable), std::byte{0});
  }
  double* sums = elements<double>(losses);
  std::fill_n(sums, args.rows.members, 0.);
  for (int64_t row = 0; row < rows; row += tile_rows) {
    const int64_t end = std::min(row + tile_rows, rows);
    const Tensor x = all_x.slice(row, end);
    Tensor logits = memory.slice(0, end - row);
    cpu::matmul(ctx, Form::kNT, x, table, logits, Write::kOverwrite);
    if (args.sink) args.sink(row, logits);
    dispatch_stored(args.x.dtype(), [&](auto zero) {
      tile_losses<decltype(zero)>(args, row, logits, dx != nullptr,
                                  elements<double>(row_losses));
    });
    add_losses(args.rows, row, end, elements<double>(row_losses), sums);
    if (dx == nullptr) continue;
    Tensor dx_rows = dx->slice(row, end);
    cpu::matmul(ctx, Form::kNN, logits, table, dx_rows, Write::kOverwrite);
    cpu::matmul(ctx, Form::kTN, logits, x, *dtable,
                row == 0 ? Write::kOverwrite : Write::kAdd);
  }
  for (int64_t member = 0; member < args.rows.members; ++member) {
    sums[member] *= elements<double>(args.scales)[member];
  }
}

void token_losses(Context&, const Tensor& logits, const Tensor& targets,
                  Tensor& losses) {
  const int64_t vocab = logits.dim(1);
  const int64_t* target = elements<int64_t>(targets);
  double* loss = elements<double>(losses);
  dispatch(logits.dtype(), [&](auto zero) {
    const auto* z = elements<decltype(zero)>(logits);
    parallel_for(logits.dim(0), [=](int64_t r) {
      loss[r] = row_loss(vocab, z + r * vocab, target[r]);
    });
  });
}

}  // namespace timepipe::cpu
