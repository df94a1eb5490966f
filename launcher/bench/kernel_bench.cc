#include "launcher/bench/kernel_bench.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "launcher/bench/ttt_call.h"
#include "launcher/process/out_of_memory.h"

namespace timepipe {
namespace {

// Enough rows to see an error, few enough for f64 on the CPU.
constexpr int64_t kComparedTokens = 128;

// Of a side of the measured products: a device needs large ones to be busy.
int64_t side_of(const BenchSizes& sizes, Device device) {
  if (sizes.name == "tiny") return 64;
  return device.kind == Device::Kind::kCpu ? 1024 : 8192;
}

// Errors of sums add like a random walk; 8 and 4: the largest of many elements,
// and what goes into the addends. Storing in bf16 rounds by 2^-9 of an element
// at most; twice that, for what is computed of such.
double allowed_error(const Operands::Result& result, DType stored) {
  constexpr double kUnit = 0x1p-24;
  const double sums =
      kUnit * (8 + 4 * std::sqrt(static_cast<double>(result.terms)));
  return sums + (result.rounded && stored == DType::kBF16 ? 0x1p-8 : 0);
}

}  // namespace

KernelBench::KernelBench(Context& ctx, BenchSizes sizes, double budget)
    : ctx_(ctx),
      sizes_(std::move(sizes)),
      budget_(budget),
      limits_(measure_limits(ctx, side_of(sizes_, ctx.device()), budget)) {}

KernelFigures KernelBench::run(const KernelCase& kernel, DType stored) {
  KernelFigures figures{.name = kernel.name, .stored = stored};
  try {
    compare(kernel, figures);
    time(kernel, figures);
  } catch (const std::exception& error) {
    figures.failure = line_of(error);
  }
  return figures;
}

void KernelBench::time(const KernelCase& kernel, KernelFigures& figures) {
  const Operands::Types types = {figures.stored, DType::kF32};
  Operands operands(ctx_, types, types);
  const KernelCall call = kernel.make(operands, sizes_);
  figures.bytes = static_cast<double>(operands.bytes()) - call.left_out;
  figures.flops = call.flops;
  figures.seconds = seconds_per_call(ctx_, call.run, budget_);
  const double memory = figures.bytes / limits_.bytes_per_second;
  const double flops =
      figures.stored == DType::kBF16 ? limits_.bf16_flops : limits_.f32_flops;
  const double arithmetic = figures.flops / flops;
  figures.limited_by_memory = memory >= arithmetic;
  figures.share = std::max(memory, arithmetic) / figures.seconds;
}

void KernelBench::compare(const KernelCase& kernel, KernelFigures& figures) {
  BenchSizes sizes = sizes_;
  sizes.tokens = std::min(sizes.tokens, kComparedTokens);
  const Operands::Types types = {figures.stored, DType::kF32};
  const Operands::Types exact = {DType::kF64, DType::kF64};
  Operands here(ctx_, types, types);
  Operands there(reference_, types, kernel.same_types ? types : exact);
  for (Operands* operands : {&here, &there}) {
    const KernelCall call = kernel.make(*operands, sizes);
    call.run();
    if (call.after) call.after();
  }
  double worst = -1;
  for (std::size_t i = 0; i < here.results().size(); ++i) {
    const Operands::Result& result = here.results()[i];
    const double error =
        largest_error(download(ctx_, result.tensor),
                      download(reference_, there.results()[i].tensor));
    const double allowed = allowed_error(result, figures.stored);
    if (error / allowed <= worst) continue;  // not if it isn't a number
    worst = error / allowed;
    figures.worst = result.name;
    figures.error = error;
    figures.allowed = allowed;
    if (std::isnan(error)) break;
  }
}

ScanFigures KernelBench::run_scan(InnerModel inner, bool backward,
                                  int64_t heads) {
  const Operands::Types types = {DType::kF32, DType::kF32};
  Operands operands(ctx_, types, types);
  TttCall call(operands, inner, heads, sizes_.head_size(), sizes_.mini_batch,
               sizes_.tokens,
               backward ? TttCall::Pass::kBackward : TttCall::Pass::kForward);
  const double mini_batches = static_cast<double>(sizes_.tokens) /
                              static_cast<double>(sizes_.mini_batch);
  const auto microseconds = [&](const std::function<void()>& run) {
    return 1e6 * seconds_per_call(ctx_, run, budget_) / mini_batches;
  };
  const double whole = microseconds([&] { call.run(); });
  return {inner, backward, heads, whole, microseconds([&] { call.chain(); })};
}

}  // namespace timepipe
