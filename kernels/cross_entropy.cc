#include "kernels/cross_entropy.h"

#include <algorithm>
#include <string>

#include "kernels/checks.h"
#include "kernels/cpu/cpu_kernels.h"

namespace timepipe {
namespace {

void require_targets(const Tensor& targets, int64_t vocab) {
  const int64_t* target = targets.data<int64_t>();
  for (int64_t t = 0; t < targets.numel(); ++t) {
    if (target[t] == kIgnoredTarget) continue;
    if (target[t] >= 0 && target[t] < vocab) continue;
    throw InvalidArgument("targets[" + std::to_string(t) +
                          "]: " + std::to_string(target[t]) + ", expected [0," +
                          std::to_string(vocab) + ") or " +
                          std::to_string(kIgnoredTarget));
  }
}

void check(const CrossEntropy& args) {
  require_matrix("x", args.x);
  require_matrix("table", args.table);
  require_tensor("table", args.table, args.x,
                 {args.table.dim(0), args.x.dim(1)});
  require_dtype("targets", args.targets, DType::kI64);
  require_shape("targets", args.targets, {args.x.dim(0)});
  require_targets(args.targets, args.table.dim(0));
}

}  // namespace

int64_t cross_entropy_tile_rows(int64_t vocab) {
  constexpr int64_t kElements = 1 << 22, kFewest = 8, kMost = 128;
  return std::clamp(kElements / std::max<int64_t>(vocab, 1) / 8 * 8, kFewest,
                    kMost);
}

double cross_entropy_forward(Context& ctx, const CrossEntropy& args) {
  check(args);
  return cpu::cross_entropy(ctx, args, nullptr, nullptr);
}

double cross_entropy_forward_backward(Context& ctx, const CrossEntropy& args,
                                      Tensor& dx, Tensor& dtable) {
  check(args);
  require_tensor("dx", dx, args.x, args.x.shape());
  require_tensor("dtable", dtable, args.x, args.table.shape());
  return cpu::cross_entropy(ctx, args, &dx, &dtable);
}

void token_losses(const Tensor& logits, const Tensor& targets, Tensor& losses) {
  require_matrix("logits", logits);
  require_dtype("targets", targets, DType::kI64);
  require_shape("targets", targets, {logits.dim(0)});
  require_dtype("losses", losses, DType::kF64);
  require_shape("losses", losses, {logits.dim(0)});
  require_targets(targets, logits.dim(1));
  cpu::token_losses(logits, targets, losses);
}

}  // namespace timepipe
