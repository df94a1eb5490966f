// Lines of progress, with the rate, the share of the peak and the time left.

#include "launcher/run/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cmath>
#include <cstdio>
#include <limits>

#include "kernels/matmul.h"
#include "parallel/launched.h"
#include "runtime/number_text.h"

namespace timepipe {
namespace {

// "1:02:03" or "02:03".
std::string clock_text(double seconds) {
  const auto s = static_cast<int64_t>(std::max(seconds, 0.0));
  char text[32];
  if (s >= 3600) {
    std::snprintf(text, sizeof(text), "%" PRId64 ":%02d:%02d", s / 3600,
                  static_cast<int>(s / 60 % 60), static_cast<int>(s % 60));
  } else {
    std::snprintf(text, sizeof(text), "%02d:%02d", static_cast<int>(s / 60),
                  static_cast<int>(s % 60));
  }
  return text;
}

// "1234", "0.0123"
std::string short_text(double value) {
  if (value < 100) return significant(value, 3);
  return std::to_string(std::llround(value));
}

std::string loss_text(const Trainer::StepResult& result) {
  if (result.labels == 0) return "no loss (no token has a label: no update)";
  return "loss " + significant(result.loss, 7) + " (" +
         significant(result.loss / std::log(2.0), 5) + " bits/token)";
}

// Of the fastest of a few products of square matrices.
double seconds_of_product(Context& ctx, DType dtype, int64_t size) {
  constexpr int kRepetitions = 4;
  const Tensor a = ctx.zeros({size, size}, dtype);
  const Tensor b = ctx.zeros({size, size}, dtype);
  Tensor c = ctx.allocate({size, size}, dtype);
  double best_seconds = std::numeric_limits<double>::infinity();
  ctx.record().synchronize();
  for (int i = 0; i < kRepetitions; ++i) {
    const auto start = std::chrono::steady_clock::now();
    matmul(ctx, Form::kNT, a, b, c);
    ctx.record().synchronize();
    const std::chrono::duration<double> taken =
        std::chrono::steady_clock::now() - start;
    best_seconds = std::min(best_seconds, taken.count());
  }
  return best_seconds;
}

}  // namespace

double measure_peak_flops(Device device, DType dtype, int64_t size) {
  constexpr double kEnoughSeconds = 2e-3;
  constexpr int64_t kLargest = 8192;
  Context ctx(device);  // its memory goes with it
  double seconds = seconds_of_product(ctx, dtype, size);
  while (device != Device{} && seconds < kEnoughSeconds && size < kLargest) {
    size *= 2;
    seconds = seconds_of_product(ctx, dtype, size);
  }
  return 2.0 * std::pow(size, 3) / seconds;
}

Progress::Progress(const RunConfig& config, double peak_flops,
                   int64_t first_step, bool speaks)
    : config_(config),
      peak_flops_(peak_flops),
      first_step_(first_step),
      speaks_(speaks),
      // mpirun gives a rank a terminal of its own, whatever it writes to.
      terminal_(::isatty(STDOUT_FILENO) == 1 && !launched().by_launcher()),
      start_(Clock::now()),
      last_(start_),
      last_line_(start_) {}

void Progress::begin() const {
  if (!speaks_) return;
  std::printf("peak:  %.1f GFLOP/s in %s matrix products of all ranks\n",
              peak_flops_ * 1e-9, name_of(config_.train.dtype));
  std::fflush(stdout);
}

StepTime Progress::step_time(int64_t labels) {
  const auto now = Clock::now();
  const double seconds = std::chrono::duration<double>(now - last_).count();
  last_ = now;
  const double speed = static_cast<double>(labels) / seconds;
  const double flops = speed * training_flops_per_token(config_.model);
  raise_peak(flops);
  return {seconds, speed, flops / peak_flops_, peak_flops_};
}

void Progress::raise_peak(double peak_flops) {
  peak_flops_ = std::max(peak_flops_, peak_flops);
}

void Progress::leave_out() {
  const auto now = Clock::now();
  start_ += now - last_;
  last_ = now;
}

void Progress::step(int64_t step, const Trainer::StepResult& result,
                    const StepTime& time) {
  if (!speaks_) return;
  last_line_ = Clock::now();
  const int64_t steps = config_.optimizer.steps;
  std::printf(
      "%sstep %" PRId64 "/%" PRId64
      "  %s  grad norm %s  tokens/s %s  peak %.1f %%",
      terminal_ ? "\r\033[K" : "", step + 1, steps, loss_text(result).c_str(),
      significant(result.grad_norm, 5).c_str(),
      short_text(time.tokens_per_second).c_str(), 100 * time.peak_share);
  if (terminal_) {
    const double each = std::chrono::duration<double>(last_ - start_).count() /
                        static_cast<double>(step + 1 - first_step_);
    std::printf(
        "  left %s",
        clock_text(each * static_cast<double>(steps - step - 1)).c_str());
    line_open_ = true;
  } else {
    std::printf("  digest %016" PRIx64 "\n", result.digest);
  }
  if (!result.finite) {
    say("step " + std::to_string(step + 1) +
        ": loss or gradient isn't finite, skipped");
  }
  std::fflush(stdout);
}

void Progress::within(int64_t step, const StepPosition& position) {
  constexpr std::chrono::seconds kOnTerminal(1), kInLog(30);
  if (!speaks_ || !(position.share > 0)) return;
  const auto now = Clock::now();
  if (now - last_line_ < (terminal_ ? kOnTerminal : kInLog)) return;
  last_line_ = now;
  const double seconds = std::chrono::duration<double>(now - last_).count();
  std::string line = terminal_ ? "\r\033[K" : "";
  line += position.training ? "step " + std::to_string(step + 1) + "/" +
                                  std::to_string(config_.optimizer.steps)
                            : "held-out text";
  line += std::string(": ") + name_of(position.phase) + " of chunk " +
          std::to_string(position.chunk + 1) + "/" +
          std::to_string(position.chunks);
  if (position.micro_batches > 1) {
    line += " of micro-batch " + std::to_string(position.micro_batch + 1) +
            "/" + std::to_string(position.micro_batches);
  }
  char rest[64];
  std::snprintf(rest, sizeof(rest), ", %.0f %% done, left %s%s",
                100 * position.share,
                clock_text(seconds / position.share - seconds).c_str(),
                terminal_ ? "" : "\n");
  std::printf("%s%s", line.c_str(), rest);
  line_open_ = terminal_;
  std::fflush(stdout);
}

void Progress::say(const std::string& line) {
  if (!speaks_) return;
  if (line_open_) std::printf("\r\033[K");
  line_open_ = false;
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

void Progress::finish() {
  if (speaks_ && line_open_) std::printf("\n");
  line_open_ = false;
  std::fflush(stdout);
}

}  // namespace timepipe
