#include "kernels/inner_rate.h"
#include "models/build.h"
#include "tests/golden_check/golden.h"

// One TTT layer through the time pipeline: its input is the case's x, the
// gradient of its output the case's cot.y.

namespace timepipe::golden {
namespace {

// [B,L,C]
Shape input_shape(const ModelConfig& config, const Case& golden) {
  Shape shape = golden.array("x").shape();
  require(shape.size() == 3 && shape[2] == config.hidden_size,
          "x: shape " + to_string(shape) + ", expected [B,L," +
              std::to_string(config.hidden_size) + "]");
  return shape;
}

class ModuleProgram : public ChunkProgram {
 public:
  // shape: input_shape().
  ModuleProgram(Context& ctx, const ModelConfig& config, const Case& golden,
                const Options& options, const Shape& shape)
      : sequences(options.micro_batch * shape[0]),
        tokens(shape[1]),
        pieces(sequences, tokens),
        config_(config) {
    ParameterLayout layout;
    layer_ = make_sequence_layer(config, "", layout);
    weights_ =
        std::make_unique<ParameterStore>(ctx, std::move(layout), options.dtype);
    layer_->bind(*weights_);
    const auto load = [&](const char* name, DType dtype) {
      return from_values(ctx, dtype, name,
                         repeated(golden.values(name), options.micro_batch),
                         {sequences * tokens, shape[2]});
    };
    const auto [compute, state, master] = weights_->precision();
    x_ = load("x", compute), dy_ = load("cot.y", state);
  }

  ParameterStore& weights() { return *weights_; }
  void load_weights(Context& ctx, const std::string& path) {
    golden::load_weights(ctx, path, *weights_);
    round_operands(ctx, *weights_);
  }

  // What the order of work depends on; remembers the chunk grid.
  ScheduleShape schedule_shape(const ChunkGrid& grid) {
    chunks_ = blank_chunks(sequences, tokens, /*continues=*/false, grid);
    LayerShape layer;
    for (const Border border : {Border::kHaloQk, Border::kState}) {
      layer.border_bytes[static_cast<std::size_t>(border)] =
          numel_of(layer_->border_shape(border, /*members=*/1)) *
          size_of(weights_->dtype());
    }
    ScheduleShape shape;
    shape.layers = {layer};
    shape.micro_batches = chunks_.shapes();
    return shape;
  }

  void reserve_slabs(Context& ctx, int64_t num_slabs, int64_t members,
                     int64_t n) override {
    const int64_t b = config_.mini_batch_size;
    const ChunkRows rows{members, n, num_chunks(n, b) * b};
    slabs_.clear();
    for (int64_t i = -1; i < num_slabs; ++i) {
      const auto take = [&] {
        return ctx.allocate({rows.count(), config_.hidden_size},
                            weights_->dtype());
      };
      slabs_.push_back({take(), take(), layer_->make_slab(ctx, rows)});
    }
  }

  ChunkView view(int64_t micro_batch, int64_t chunk) const override {
    return chunks_.view(micro_batch, chunk);
  }

  Tensor make_border(Context& ctx, int64_t micro_batch,
                     LayerBorder border) const override {
    return ctx.allocate(
        layer_->border_shape(border.border, chunks_.members(micro_batch)),
        weights_->dtype(), MemoryUse::kBorders);
  }

  void forward(Context& ctx, Part part, int64_t, const ChunkView& view,
               int slab_index, const Tensor& border_in,
               Tensor& border_out) override {
    Slab& slab = slabs_.at(slab_index + 1);
    const Tensor u = input(ctx, x_, view);
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
        if (pieces.is_last(view)) {
          pieces.put_states("state", first_sequence(view), view.rows.members,
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
    const Tensor u = input(ctx, x_, view);
    Tensor du = rows(slab.du, view);
    switch (part) {
      case Part::kOutput:
        layer_->take_gradients(ctx, view.rows, *slab.layer);
        return layer_->output_backward(ctx, view, *slab.layer,
                                       input(ctx, dy_, view), gradients);
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

  const int64_t sequences, tokens;  // copies of all; of each
  Pieces pieces;

 private:
  struct Slab {
    Tensor y, du;
    std::unique_ptr<SequenceLayer::Slab> layer;
  };

  int64_t first_sequence(const ChunkView& view) const {
    return chunks_.first_sequence(view.micro_batch);
  }
  Tensor input(Context& ctx, const Tensor& x, const ChunkView& view) const {
    return rows_of_chunk(ctx, x, tokens, first_sequence(view), view);
  }
  void put(Context& ctx, const std::string& name, const ChunkView& view,
           const Tensor& value) {
    pieces.put_rows(name, first_sequence(view), view, 0, download(ctx, value));
  }

  ModelConfig config_;
  std::unique_ptr<SequenceLayer> layer_;
  std::unique_ptr<ParameterStore> weights_;
  Tensor x_, dy_;  // [sequences*tokens, C]
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
  Context ctx(options.device);
  ModuleProgram module(ctx, config, golden, options,
                       input_shape(config, golden));
  module.load_weights(ctx, options.directory + "/weights.safetensors");
  const int64_t chunk = chunk_length(options, config.mini_batch_size,
                                     module.tokens, config.halo_rows());
  report.remark("chunk_tokens " + std::to_string(chunk));
  const ScheduleShape shape =
      module.schedule_shape({.chunk_tokens = chunk,
                             .mini_batch_size = config.mini_batch_size,
                             .micro_batch_size = options.micro_batch});
  const ParameterLayout& layout = module.weights().layout();
  GradientSum gradients(ctx, layout, module.weights().dtype());
  gradients.start(ctx,
                  shape.micro_batches.size() * shape.micro_batches[0].size());
  const auto exchange = make_exchange(ctx, world);
  ScheduleRunner(ctx, *exchange, module)
      .run(shape, options.hot_rounds, gradients);

  const int64_t copies = options.micro_batch;
  const auto reference = [&](const std::string& name) {
    return golden.note({"f32_vs_f64_rel_l2", name}, 0);
  };
  for (const std::string& name : golden.tensors.names()) {
    if (name != "y" && name != "grad.x" && !name.starts_with("mid.")) continue;
    if (name == "mid.token_idx") continue;
    const Values expected = golden.values(name);
    Values got = module.pieces.merged(world, name, copies * expected.size());
    if (name.starts_with("mid.") && name != "mid.ttt_out") {
      got = heads_first(got, module.sequences, module.tokens, config.num_heads);
    }
    report.compare_copies(
        name, got, expected, copies,
        name == "grad.x"
            ? gradient_tolerance(options.dtype, name, reference(name))
            : value_tolerance(options.dtype, 1e-5, reference(name)));
  }
  const Tensor learnable = module.weights().value("learnable_token_idx");
  Tensor tok = ctx.allocate(learnable.shape(), learnable.dtype());
  token_scale_forward(ctx, learnable, tok);
  report.compare("mid.token_idx", to_values(ctx, tok),
                 golden.values("mid.token_idx"),
                 value_tolerance(options.dtype, 1e-5, 0));
  const TttShape ttt = config.ttt_shape();
  const Values states =
      module.pieces.merged(world, "state", module.sequences * ttt.state_size());
  for (const auto& [name, values] :
       split_state(ttt, states, module.sequences)) {
    report.compare_copies("state." + name, values,
                          golden.values("state." + name), copies,
                          value_tolerance(options.dtype, 1e-5, 0));
  }
  ShardedOptimizer optimizer(ctx, *exchange, module.weights(), {});
  optimizer.reduce(gradients, ctx.zeros({1}, DType::kF64));  // it has no loss
  const Values gradient = scaled(to_values(ctx, optimizer.gather_gradient()),
                                 1.0 / static_cast<double>(copies));
  for (const Parameter& p : layout.parameters()) {
    report.compare(
        "grad." + p.name, values_of(p, gradient),
        golden.values("grad." + p.name),
        gradient_tolerance(options.dtype, p.name, reference("grad." + p.name)));
  }
}

}  // namespace timepipe::golden
