// The training run: its loop is Run::train().

#include "launcher/run/run.h"

#include <algorithm>
#include <bit>
#include <cinttypes>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <new>
#include <numeric>
#include <optional>
#include <vector>

#include "launcher/checkpoint/best.h"
#include "launcher/checkpoint/checkpoint_files.h"
#include "launcher/config/config_text.h"
#include "launcher/data/id_scan.h"
#include "launcher/data/train_data.h"
#include "launcher/process/job.h"
#include "launcher/process/out_of_memory.h"
#include "launcher/process/rank_device.h"
#include "launcher/process/rank_log.h"
#include "launcher/process/set_threads.h"
#include "launcher/run/id_scans.h"
#include "launcher/run/introduce.h"
#include "launcher/run/lock.h"
#include "launcher/run/metrics.h"
#include "launcher/run/next_step.h"
#include "launcher/run/progress.h"
#include "launcher/run/rank_report.h"
#include "launcher/run/saves.h"
#include "launcher/run/signals.h"
#include "launcher/run/start.h"
#include "launcher/trainer/rates.h"
#include "launcher/trainer/trainer.h"
#include "runtime/number_text.h"
#include "runtime/termination.h"

namespace timepipe {
namespace {

// What a run needs before the first message between ranks.
struct Inputs {
  RunConfig config;
  TrainData data;

  Inputs(const std::string& path, const std::vector<std::string>& overrides,
         int ranks)
      : config(checked(load_config(path, overrides), ranks)), data(config) {}

  // A layout for the ranks that there are, and a job for the layout.
  static std::string that_would_do(const RunConfig& config, int ranks) {
    const ParallelConfig& layout = config.parallel;
    std::string job = "mpirun -n " + std::to_string(layout.time * layout.data);
    if (ranks % layout.data != 0) return job;
    return "parallel.time=" + std::to_string(ranks / layout.data) + " or " +
           job;
  }

  static RunConfig checked(RunConfig config, int ranks) {
    const int64_t wanted = config.parallel.time * config.parallel.data;
    require(wanted == ranks,
            "parallel.time x parallel.data: ", config.parallel.time, " x ",
            config.parallel.data, " = ", wanted, " ranks, but this job has ",
            ranks, ", expected ", that_would_do(config, ranks));
    return config;
  }
};

// A run in its folder, from the weights that it starts with to its last step.
class Run {
 public:
  // Collective.
  Run(Context& ctx, Communicator& world, const Inputs& inputs,
      const IdScan* scan)
      : ctx_(ctx),
        world_(world),
        inputs_(inputs),
        scan_(scan),
        config_(inputs.config),
        trainer_(ctx_, world, config_.model, config_.train, config_.parallel,
                 config_.optimizer.adamw),
        start_(start_run(ctx_, world, config_, inputs.data, trainer_)),
        saves_(ctx_, world, config_, trainer_, data_files(inputs.data),
               start_.hugging_face),
        next_(inputs.data, trainer_),
        steps_done_(start_.steps_done),
        skipped_(start_.skipped_steps),
        digest_(start_.digest),
        held_out_loss_(start_.held_out_loss) {
    log_line("starts after step " + std::to_string(steps_done_));
  }

  // Returns the exit status, as train() below.
  int train() {
    const int64_t steps = config_.optimizer.steps;
    const bool lacks_evaluation = evaluates(steps_done_) && !held_out_loss_;
    if (steps_done_ >= steps && !lacks_evaluation) return finished();
    answer_signals(has_folder());
    Progress progress(config_, peak_of_all_ranks(1024), steps_done_, speaks());
    std::optional<Metrics> metrics;
    if (speaks() && has_folder()) {
      metrics.emplace(config_.run_dir, steps_done_, !lacks_evaluation,
                      inputs_.data);
    }
    begin(progress);

    int signal = 0;
    int64_t step = steps_done_;
    if (lacks_evaluation) {  // saved because of a signal
      if (!evaluate(step, progress, metrics))
        return leave_unread(step, progress);
      add_loss_to_checkpoint();
    }
    if (step >= steps) return finished();
    while (step < steps && signal == 0) {
      if (!read([&] { return next_.take(step); })) {
        return leave_unread(step, progress);
      }
      do_step(step, progress, metrics);
      ++step;
      signal = asked_on_any_rank(world_);
      if (signal == 0 && evaluates(step)) {
        if (!evaluate(step, progress, metrics))
          return leave_unread(step, progress);
        signal = asked_on_any_rank(world_);
      }
      save_if_due(step, step == steps || signal != 0);
    }
    progress.finish();
    if (step < steps) return leave_early(step, signal, progress);
    require_an_update(steps);
    log_line("all steps done, memory taken: " + taken_text(ctx_.pool()));
    report();
    return 0;
  }

 private:
  bool speaks() const { return world_.rank() == 0; }
  bool has_folder() const { return !config_.run_dir.empty(); }

  double peak_of_all_ranks(int64_t size) {
    const auto all = gather_values(
        world_, measure_peak_flops(ctx_.device(), config_.train.dtype, size));
    return std::accumulate(all.begin(), all.end(), 0.0);
  }

  // After 1, 2, 4, 8 ... steps: the machine may have been busy at the start,
  // which a device of our own wasn't.
  void measure_peak_again(int64_t steps, Progress& progress) {
    if (ctx_.device() != Device{}) return;
    if (!std::has_single_bit(static_cast<uint64_t>(steps))) return;
    constexpr int64_t kSize = 512;  // little beside the run's own memory
    progress.raise_peak(peak_of_all_ranks(kSize));
    progress.leave_out();
  }

  void begin(Progress& progress) const {
    progress.begin();
    if (steps_done_ == 0) return;
    progress.say("resumed after step " + std::to_string(steps_done_));
  }

  int finished() const {
    require_an_update(steps_done_);
    if (speaks()) {
      std::printf("finished: %" PRId64 " steps done\n", steps_done_);
    }
    return 0;
  }

  void do_step(int64_t step, Progress& progress,
               std::optional<Metrics>& metrics) {
    const double lr = learning_rate(config_.optimizer, step);
    if (speaks()) {
      trainer_.set_watch([step, &progress](const StepPosition& position) {
        progress.within(step, position);
      });
    }
    if (step + 1 < config_.optimizer.steps) next_.begin(step + 1);
    const Trainer::StepResult result =
        trainer_.step(std::move(batch_), lr,
                      inner_rate_multiplier(config_.optimizer,
                                            config_.model.ttt_base_lr, step),
                      step);
    const StepTime time = progress.step_time(result.labels);
    progress.step(step, result, time);
    log_line("step " + std::to_string(step + 1) + ": loss " +
             significant(result.loss, 9) + ", digest " +
             hex_text(result.digest) + ", " +
             to_string(inputs_.data.after(step + 1)) +
             ", waited for schedules " +
             significant(trainer_.seconds_waited_for_schedules(), 3) + " s");
    if (metrics) metrics->write(step, result, lr, time);
    measure_peak_again(step + 1 - steps_done_, progress);
    digest_ = result.digest;
    held_out_loss_.reset();
    count_skipped(result.finite);
  }

  // `finite` is the same on all ranks.
  void count_skipped(bool finite) {
    skipped_ += finite ? 0 : 1;
    skipped_in_a_row_ = finite ? 0 : skipped_in_a_row_ + 1;
    const int64_t most = config_.optimizer.max_skipped_steps;
    require(skipped_in_a_row_ < most, skipped_in_a_row_,
            " steps in a row without a finite loss and gradient, expected "
            "fewer than optimizer.max_skipped_steps = ",
            most);
  }

  // A run all of whose steps were skipped has trained nothing.
  void require_an_update(int64_t steps_done) const {
    require(skipped_ < steps_done, "not trained: all ", steps_done,
            " steps were skipped, without a finite loss and gradient");
  }

  void save_if_due(int64_t steps_done, bool leaves) {
    saves_.after_step(steps_done, skipped_, digest_, held_out_loss_, leaves);
  }

  bool evaluates(int64_t steps) const {
    const int64_t every = config_.eval.every;
    return every > 0 && steps > 0 && steps % every == 0;
  }

  // The checkpoint that this run goes on from. Collective.
  void add_loss_to_checkpoint() {
    prepare_together(world_, [&] {
      if (!speaks()) return;
      note_held_out_loss(checkpoint_folder(config_.run_dir, steps_done_),
                         *held_out_loss_);
    });
  }

  // Sets held_out_loss_: the mean over the first held-out sequences, whatever
  // the step, at once as many of them as a step has. False if they could not be
  // read. Throws InvalidArgument unless it is finite. Collective.
  bool evaluate(int64_t steps_done, Progress& progress,
                std::optional<Metrics>& metrics) {
    const int64_t all = config_.eval.sequences;
    double loss = 0;
    for (int64_t first = 0; first < all; first += config_.data.batch) {
      const int64_t count = std::min(config_.data.batch, all - first);
      if (speaks()) {
        trainer_.set_watch([=, &progress](StepPosition position) {
          position.share = (static_cast<double>(first) +
                            position.share * static_cast<double>(count)) /
                           static_cast<double>(all);
          progress.within(steps_done, position);
        });
      }
      const auto piece = [&] {
        return inputs_.data.held_out_batch(first, count,
                                           trainer_.grid().share());
      };
      if (!read(piece)) return false;
      loss += trainer_.evaluate(std::move(batch_));
    }
    require(std::isfinite(loss), "step ", steps_done, ": held-out loss ",
            significant(loss, 7), ", expected a finite number");
    held_out_loss_ = loss;
    progress.say("step " + std::to_string(steps_done) + ": held-out loss " +
                 significant(loss, 7));
    log_line("step " + std::to_string(steps_done) + ": held-out loss " +
             significant(loss, 9) + ", " +
             to_string(inputs_.data.after(steps_done)));
    if (metrics) metrics->write_evaluation(steps_done, loss);
    progress.leave_out();
    return true;
  }

  // Sets batch_. False if a rank could not read it, or the look through the ids
  // found a wrong one. Collective.
  bool read(const std::function<Batch()>& make) {
    failure_ = failure_together(world_, [&] {
      batch_.clear();  // before there is the next
      batch_ = make();
      if (scan_ != nullptr) scan_->check();
    });
    return !failure_.has_value();
  }

  // Saves what was done before the data could not be read.
  int leave_unread(int64_t steps_done, Progress& progress) {
    progress.finish();
    std::string outcome = has_folder() ? "; nothing new to save"
                                       : "; nothing is saved without run_dir";
    if (has_folder() && steps_done > steps_done_) {
      try {
        save_if_due(steps_done, /*leaves=*/true);
      } catch (const InvalidArgument&) {
        if (!failure_->empty()) tell(*failure_);
        throw;
      }
      outcome = "; saved after step " + std::to_string(steps_done) + " in " +
                checkpoint_folder(config_.run_dir, steps_done);
    }
    set_on_signal(OnSignal::kIgnore, "");  // mpirun ends the later ranks by one
    if (!failure_->empty()) tell(*failure_ + outcome);
    return kExitMistake;
  }

  int leave_early(int64_t steps_done, int signal, Progress& progress) {
    set_on_signal(OnSignal::kIgnore, "");  // mpirun ends the later ranks by one
    const std::string line = std::string(name_of_signal(signal)) +
                             ": saved after step " +
                             std::to_string(steps_done) + " of " +
                             std::to_string(config_.optimizer.steps) + " in " +
                             checkpoint_folder(config_.run_dir, steps_done) +
                             "; the same command goes on from there";
    progress.say(line);
    log_line(line);
    return 128 + signal;
  }

  // Collective.
  void report() {
    if (speaks()) std::printf("final digest %016" PRIx64 "\n", digest_);
    report_ranks(
        world_, config_, config_.optimizer.steps - steps_done_,
        {.sent_bytes = trainer_.bytes_sent_in_steps(),
         .activation_bytes = ctx_.pool().peak_bytes(MemoryUse::kActivations)});
  }

  Context& ctx_;
  Communicator& world_;
  const Inputs& inputs_;
  const IdScan* scan_;  // null unless this rank has one
  const RunConfig& config_;
  Trainer trainer_;
  RunStart start_;
  Saves saves_;
  NextStep next_;
  int64_t steps_done_;  // when the run was started or resumed
  int64_t skipped_, skipped_in_a_row_ = 0;
  uint64_t digest_;
  std::optional<double> held_out_loss_;  // of the step done last
  Batch batch_;  // of the step or evaluation that is under way
  std::optional<std::string> failure_;
};

void make_folders(const std::string& run_dir) {
  const std::string folder = run_dir + "/checkpoints";
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) throw IoError("run_dir: " + folder + ": " + error.message());
}

constexpr const char* kNeedsLess =
    "; less is needed with fewer train.hot_rounds, a smaller data.micro_batch, "
    "another train.chunk_tokens, a smaller model, or more ranks";

}  // namespace

int train(Communicator& world, const std::string& path,
          const std::vector<std::string>& overrides) {
  const JobThreads threads = set_threads(world);
  std::optional<Inputs> inputs;
  prepare_together(world,
                   [&] { inputs.emplace(path, overrides, world.size()); });
  require_same_on_all_ranks(world, "configuration",
                            std::hash<std::string>()(to_text(inputs->config)));
  require_same_on_all_ranks(world, "file data.train", inputs->data.hash());
  world.set_timeout(inputs->config.parallel.timeout_seconds);
  const Device device = device_of_rank(world, inputs->config.device);
  std::optional<Context> ctx;
  prepare_together(world, [&] { ctx.emplace(device); });
  std::optional<RunLock> lock;  // of the whole job
  if (!inputs->config.run_dir.empty()) {
    prepare_together(world, [&] {
      make_folders(inputs->config.run_dir);
      if (world.rank() == 0) lock.emplace(inputs->config.run_dir);
    });
    open_log(inputs->config, world);
  }
  const auto scan = look_through_ids(world, inputs->config, inputs->data);
  introduce(world, inputs->config, inputs->data, threads, device);
  try {
    return Run(*ctx, world, *inputs, scan.get()).train();
  } catch (const OutOfMemory& error) {
    throw OutOfMemory(error.what() + std::string(kNeedsLess));
  } catch (const std::bad_alloc& error) {
    throw OutOfMemory(line_of(error) + kNeedsLess);
  }
}

}  // namespace timepipe
