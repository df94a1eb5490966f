#include "kernels/inner_rate.h"
#include "models/build.h"
#include "tests/golden_check/golden.h"

// One TTT layer through the time pipeline: its input is the case's x, the
// gradient of its output the case's cot.y.

namespace timepipe::golden {
namespace {

class ModuleProgram : public ChunkProgram {
 public:
  ModuleProgram(Context& ctx, const ModelConfig& config, const Case& golden,
                DType dtype)
      : config_(config) {
    ParameterLayout layout;
    layer_ = make_sequence_layer(config, "", layout);
    weights_ = std::make_unique<ParameterStore>(ctx, std::move(layout), dtype);
    layer_->bind(*weights_);
    const Shape shape = golden.array("x").shape();
    require(shape.size() == 3 && shape[2] == config.hidden_size,
            "x: shape " + to_string(shape) + ", expected [B,L," +
                std::to_string(config.hidden_size) + "]");
    batch_size = shape[0], tokens = shape[1];
    const auto load = [&](const char* name) {
      return from_values(ctx, dtype, name, golden.values(name),
                         {batch_size * tokens, shape[2]});
    };
    x_ = load("x"), dy_ = load("cot.y");
  }

  ParameterStore& weights() { return *weights_; }

  // What the order of work depends on; remembers the chunk grid.
  ScheduleShape schedule_shape(Context& ctx, int64_t chunk_tokens) {
    Batch batch;
    for (int64_t b = 0; b < batch_size; ++b) {
      batch.push_back({.ids = std::vector<int64_t>(tokens, 0),
                       .targets = std::vector<int64_t>(tokens, 0),
                       .documents = {{0, tokens, true}},
                       .loss_scale = 0});
    }
    chunks_ =
        ChunkedBatch(std::move(batch), {chunk_tokens, config_.mini_batch_size});
    LayerShape layer;
    for (const Border border : {Border::kHaloQk, Border::kState}) {
      layer.border_bytes[static_cast<std::size_t>(border)] =
          make_border(ctx, 0, {border, 0}).size_bytes();
    }
    ScheduleShape shape;
    shape.layers = {layer};
    shape.micro_batches = chunks_.shapes();
    return shape;
  }

  void reserve_slabs(Context& ctx, int64_t num_slabs, int64_t,
                     int64_t n) override {
    slabs_.clear();
    for (int64_t i = -1; i < num_slabs; ++i) {
      const auto take = [&] {
        return ctx.allocate({n, config_.hidden_size}, weights_->dtype());
      };
      slabs_.push_back(
          {take(), take(), layer_->make_slab(ctx, rows_of_one(n))});
    }
  }

  ChunkView view(int64_t micro_batch, int64_t chunk) const override {
    return chunks_.view(micro_batch, chunk);
  }

  Tensor make_border(Context& ctx, int64_t, LayerBorder border) const override {
    return ctx.allocate(layer_->border_shape(border.border, 1),
                        weights_->dtype(), MemoryUse::kBorders);
  }

  void forward(Context& ctx, Part part, int64_t, const ChunkView& view,
               int slab_index, const Tensor& border_in,
               Tensor& border_out) override {
    Slab& slab = slabs_.at(slab_index + 1);
    const Tensor u = input(x_, view);
    Tensor y = rows(slab.y, view);
    switch (part) {
      case Part::kEmbed:
        return clear(ctx, y);
      case Part::kConv:
        return layer_->project_qk(ctx, view, u, *slab.layer, border_out);
      case Part::kProject:
        return layer_->project(ctx, view, u, *slab.layer, border_in);
      case Part::kScan:
        layer_->scan(ctx, view, *slab.layer, border_in, border_out);
        if (view.first + view.rows.tokens == tokens) {
          pieces.put("state", batch_size, view.micro_batch, 1, 0,
                     download(ctx, border_out));
        }
        return;
      case Part::kOutput:
        layer_->output(ctx, view, *slab.layer, y);
        put(ctx, "y", view, y);
        return layer_->inspect(
            *slab.layer, view, [&](const char* name, const Tensor& value) {
              put(ctx, std::string("mid.") + name, view, value);
            });
      case Part::kHead:
        return;
    }
  }

  void backward(Context& ctx, Part part, int64_t, const ChunkView& view,
                int slab_index, const Tensor& border_in,
                const Tensor& dborder_out, Tensor& dborder_in,
                GradientSum& gradients) override {
    Slab& slab = slabs_.at(slab_index + 1);
    const Tensor u = input(x_, view);
    Tensor du = rows(slab.du, view);
    switch (part) {
      case Part::kOutput:
        layer_->take_gradients(ctx, view.rows, *slab.layer);
        return layer_->output_backward(ctx, view, *slab.layer, input(dy_, view),
                                       gradients);
      case Part::kScan:
        return layer_->scan_backward(ctx, view, *slab.layer, dborder_out,
                                     dborder_in, gradients);
      case Part::kProject:
        return layer_->project_backward(ctx, view, u, *slab.layer, border_in,
                                        dborder_in, du, gradients);
      case Part::kConv:
        layer_->project_qk_backward(ctx, view, u, *slab.layer, dborder_out, du,
                                    gradients);
        return put(ctx, "grad.x", view, du);
      case Part::kHead:
      case Part::kEmbed:
        return;
    }
  }

  Pieces pieces;
  int64_t batch_size, tokens;

 private:
  struct Slab {
    Tensor y, du;
    std::unique_ptr<SequenceLayer::Slab> layer;
  };

  Tensor input(const Tensor& x, const ChunkView& view) const {
    const int64_t first = view.micro_batch * tokens + view.first;
    return x.slice(first, first + view.rows.tokens);
  }
  void put(Context& ctx, const std::string& name, const ChunkView& view,
           const Tensor& value) {
    pieces.put(name, batch_size, view.micro_batch, tokens, view.first,
               download(ctx, value));
  }

  ModelConfig config_;
  std::unique_ptr<SequenceLayer> layer_;
  std::unique_ptr<ParameterStore> weights_;
  Tensor x_, dy_;  // [B*L, C]
  ChunkedBatch chunks_;
  std::vector<Slab> slabs_;
};

}  // namespace

void check_module(const Options& options, const Case& golden,
                  Communicator& world, Report& report) {
  const ModelConfig config =
      read_model_config(options.directory + "/config.json");
  require(options.data_ranks == 1, "--data-ranks " +
                                       std::to_string(options.data_ranks) +
                                       ": expected 1 for a module");
  Context ctx;
  ModuleProgram module(ctx, config, golden, options.dtype);
  load_weights(ctx, options.directory + "/weights.safetensors",
               module.weights());
  const int64_t chunk = chunk_length(options, config.mini_batch_size,
                                     module.tokens, config.halo_rows());
  report.remark("chunk_tokens " + std::to_string(chunk));
  const ScheduleShape shape = module.schedule_shape(ctx, chunk);
  const ParameterLayout& layout = module.weights().layout();
  GradientSum gradients(ctx, layout, options.dtype);
  gradients.start(ctx, module.batch_size * num_chunks(module.tokens, chunk));
  const auto exchange = make_host_exchange(ctx, world);
  ScheduleRunner(ctx, *exchange, module)
      .run(shape, options.hot_rounds, gradients);

  const auto reference = [&](const std::string& name) {
    return golden.note({"f32_vs_f64_rel_l2", name}, 0);
  };
  for (const std::string& name : golden.tensors.names()) {
    if (name != "y" && name != "grad.x" && !name.starts_with("mid.")) continue;
    if (name == "mid.token_idx") continue;
    const Values expected = golden.values(name);
    Values got = module.pieces.merged(world, name, expected.size());
    if (name.starts_with("mid.") && name != "mid.ttt_out") {
      got =
          heads_first(got, module.batch_size, module.tokens, config.num_heads);
    }
    report.compare(
        name, got, expected,
        name == "grad.x"
            ? gradient_tolerance(options.dtype, name, reference(name))
            : value_tolerance(options.dtype, 1e-5, reference(name)));
  }
  const Tensor learnable = module.weights().value("learnable_token_idx");
  Tensor tok = ctx.allocate(learnable.shape(), options.dtype);
  token_scale_forward(ctx, learnable, tok);
  report.compare("mid.token_idx", to_values(ctx, tok),
                 golden.values("mid.token_idx"),
                 value_tolerance(options.dtype, 1e-5, 0));
  const TttShape ttt = config.ttt_shape();
  const Values states = module.pieces.merged(
      world, "state", module.batch_size * ttt.state_size());
  for (const auto& [name, values] :
       split_state(ttt, states, module.batch_size)) {
    report.compare("state." + name, values, golden.values("state." + name),
                   value_tolerance(options.dtype, 1e-5, 0));
  }
  ShardedOptimizer optimizer(ctx, *exchange, module.weights(), {});
  optimizer.reduce(gradients, ctx.zeros({1}, DType::kF64));  // it has no loss
  const Values gradient = to_values(ctx, optimizer.gather_gradient());
  for (const Parameter& p : layout.parameters()) {
    report.compare(
        "grad." + p.name, values_of(p, gradient),
        golden.values("grad." + p.name),
        gradient_tolerance(options.dtype, p.name, reference("grad." + p.name)));
  }
}

}  // namespace timepipe::golden
