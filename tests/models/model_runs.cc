#include "tests/models/model_runs.h"

#include <bit>
#include <numeric>
#include <span>

#include "tests/support/test_device.h"

namespace timepipe::testing {

Observer Observations::observer(Context& ctx, const ProcessGrid& grid,
                                const Batch& batch) {
  return [this, &ctx, &grid, &batch](const std::string& name,
                                     const ChunkView& view, int64_t row,
                                     const Tensor& value) {
    const int64_t first = grid.share().first_sequence(view.micro_batch);
    if (name.starts_with("state.")) {
      for (int64_t m = 0; m < view.rows.members; ++m) {
        const int64_t tokens = batch.at(first + m).tokens();
        if (view.first >= tokens || view.first + view.rows.tokens < tokens) {
          continue;
        }
        const int64_t n = value.numel() / view.rows.members;
        put(name, {first + m, 0}, to_f64(ctx, value.slice(m * n, (m + 1) * n)));
      }
      return;
    }
    for (int64_t r = 0; r < value.dim(0); ++r) {
      const int64_t m = (row + r) / view.rows.stride;
      const int64_t token = view.first + (row + r) % view.rows.stride;
      if (token >= batch.at(first + m).tokens()) continue;  // padding
      put(name, {first + m, token}, to_f64(ctx, value.slice(r, r + 1)));
    }
  };
}

std::vector<std::string> Observations::names() const {
  std::vector<std::string> names;
  for (const auto& [name, pieces] : pieces_) names.push_back(name);
  return names;
}

std::vector<double> Observations::values(const std::string& name) const {
  std::vector<double> all;
  for (const auto& [place, piece] : pieces_.at(name)) {
    all.insert(all.end(), piece.begin(), piece.end());
  }
  return all;
}

void Observations::put(const std::string& name, Place place,
                       const std::vector<double>& piece) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto [seen, is_new] = pieces_[name].try_emplace(place, piece);
  if (is_new) return;
  EXPECT_EQ(seen->second, piece) << name << " is another when recomputed";
}

TrainConfig in_chunks(int64_t chunk_tokens, int64_t hot_rounds,
                      int64_t detach_every_chunks) {
  return {.chunk_tokens = chunk_tokens,
          .hot_rounds = hot_rounds,
          .detach_every_chunks = detach_every_chunks,
          .dtype = DType::kF64};
}

ChunkedBatch chunks_of(const ModelRun& run) {
  return {run.batch,
          {.chunk_tokens = run.train.chunk_tokens,
           .mini_batch_size = run.config.mini_batch_size,
           .detach_every = run.train.detach_every_chunks,
           .micro_batch_size = run.train.micro_batch}};
}

Tensor reduced_gradient(Context& ctx, Trainer& trainer, double loss) {
  ShardedOptimizer& optimizer = trainer.optimizer();
  optimizer.reduce(trainer.gradients(),
                   from_f64(ctx, {loss}, {1}, DType::kF64));
  EXPECT_TRUE(optimizer.report().finite);
  return optimizer.gather_gradient();
}

ModelResult run_batch(Context& ctx, Trainer& trainer, const Batch& batch) {
  const double loss = trainer.forward_backward(batch);
  return {loss, download(ctx, reduced_gradient(ctx, trainer, loss))};
}

namespace {

// One rank's part. Collective.
ModelResult run_rank(Context& ctx, Communicator& world, const ModelRun& run,
                     Observations* observations) {
  const Threads one_thread(1);
  Trainer trainer(ctx, world, run.config, run.train, run.parallel, {});
  run.weights(ctx, trainer.model().weights());
  if (observations != nullptr) {
    trainer.model().set_observer(
        observations->observer(ctx, trainer.grid(), run.batch));
  }
  if (!run.trains) return {trainer.evaluate(run.batch), {}};
  return run_batch(ctx, trainer, run.batch);
}

}  // namespace

::testing::AssertionResult same_bits(const ModelResult& a,
                                     const ModelResult& b) {
  if (std::bit_cast<uint64_t>(a.loss) != std::bit_cast<uint64_t>(b.loss)) {
    return ::testing::AssertionFailure()
           << "losses " << a.loss << " and " << b.loss;
  }
  return same_bits(a.gradient, b.gradient);
}

ModelResult run_model(const ModelRun& run, Observations* observations) {
  const auto ranks = static_cast<int>(run.parallel.time * run.parallel.data);
  std::vector<ModelResult> results(static_cast<std::size_t>(ranks));
  run_thread_ranks(ranks, [&](Communicator& world) {
    TestContext ctx;
    results[static_cast<std::size_t>(world.rank())] =
        run_rank(ctx, world, run, observations);
  });
  for (const ModelResult& result : results) {
    EXPECT_TRUE(same_bits(result, results[0]));
  }
  return std::move(results[0]);
}

ForwardLoss::ForwardLoss(Context& ctx, Communicator& world, const ModelRun& run,
                         LanguageModel& model, ChunkProgram& program)
    : ctx_(ctx),
      model_(model),
      exchange_(make_exchange(ctx, world)),
      runner_(ctx, *exchange_, program),
      unused_(ctx, model.weights().layout(), DType::kF64) {
  model.set_batch(ctx, chunks_of(run));
}

double ForwardLoss::operator()() {
  ScheduleShape shape = model_.schedule_shape();
  shape.micro_batches = model_.batch().shapes();
  shape.training = false;
  runner_.run(shape, 0, unused_);
  const std::vector<double> losses = to_f64(ctx_, model_.losses());
  return std::accumulate(losses.begin(), losses.end(), 0.0);
}

void expect_gradient(Context& ctx, ParameterStore& weights,
                     const Tensor& gradient,
                     const std::function<double()>& loss) {
  Generator rng(18);
  for (const Parameter& p : weights.layout().parameters()) {
    const Tensor value = weights.value(p.name);
    const std::vector<double> start = to_f64(ctx, value);
    std::vector<double> direction =
        to_f64(ctx, normal(ctx, rng, p.shape, DType::kF64));
    const double length = norm(direction);
    for (double& d : direction) d /= length;
    const Tensor shift = filled(ctx, 0, {1}, DType::kF64);
    const auto move = [&] {
      const double by = to_number(ctx, shift);
      std::vector<double> moved = start;
      for (std::size_t i = 0; i < moved.size(); ++i) {
        moved[i] += by * direction[i];
      }
      upload(ctx, std::span<const double>(moved), value);
      return loss();
    };
    const double slope =
        inner_product(ctx, gradient.slice(p.offset, p.offset + p.count),
                      from_f64(ctx, direction, p.shape, DType::kF64));
    EXPECT_TRUE(gradients_agree(
        ctx, move, {{p.name, shift, filled(ctx, slope, {1}, DType::kF64)}},
        {.step = kStep}));
    upload(ctx, std::span<const double>(start), value);
  }
}

void check_gradient(const ModelRun& run) {
  const Threads one_thread(1);
  TestContext ctx;
  const auto world = make_self_communicator();
  Trainer trainer(ctx, *world, run.config, run.train, {}, {});
  LanguageModel& model = trainer.model();
  run.weights(ctx, model.weights());
  model.set_inner_rate_multiplier(0.7);
  const double loss = trainer.forward_backward(run.batch);
  const Tensor gradient = reduced_gradient(ctx, trainer, loss);
  ForwardLoss loss_of(ctx, *world, run, model, model);
  EXPECT_NEAR(loss_of(), loss, rounding(DType::kF64, 64) * loss);
  expect_gradient(ctx, model.weights(), gradient, [&] { return loss_of(); });
}

std::vector<Parameter> parameters_of(const ModelConfig& config) {
  TestContext ctx;
  return LanguageModel(ctx, config, DType::kF64)
      .weights()
      .layout()
      .parameters();
}

std::vector<double> values_of(const Parameter& p, const HostArray& flat) {
  const auto values = flat.values<double>().subspan(p.offset, p.count);
  return {values.begin(), values.end()};
}

void expect_close(const ModelConfig& config, const ModelResult& actual,
                  const ModelResult& expected, double tolerance) {
  EXPECT_TRUE(close({actual.loss}, {expected.loss}, tolerance)) << "loss";
  for (const Parameter& p : parameters_of(config)) {
    EXPECT_TRUE(close_l2(values_of(p, actual.gradient),
                         values_of(p, expected.gradient), tolerance))
        << "gradient of " << p.name;
  }
}

}  // namespace timepipe::testing
