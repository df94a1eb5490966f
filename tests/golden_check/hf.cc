#include <filesystem>

#include "launcher/huggingface/hf_folder.h"
#include "tests/golden_check/golden.h"

namespace timepipe::golden {

void check_hf(const Options& options, const Case& golden, Communicator& world,
              Report& report) {
  const ModelConfig config = read_hf_config(options.directory).model;
  const Tensor ids = golden.tensor("input_ids");
  const int64_t B = ids.dim(0), L = ids.dim(1);
  const auto [train, parallel] = layout_of(options, config, L, world, report);

  Context ctx;
  Trainer trainer(ctx, world, config, train, parallel, {});
  read_hf_weights(options.directory, trainer.model().weights());
  Batch batch;  // the labels don't matter: only logits are compared
  for (int64_t b = 0; b < B; ++b) {
    const int64_t* id = ids.data<int64_t>() + b * L;
    batch.push_back({.ids = {id, id + L},
                     .targets = {id, id + L},
                     .documents = {{0, L, true}},
                     .loss_scale = 1.0 / static_cast<double>(B * L)});
  }
  Pieces pieces;
  trainer.model().set_observer(record(pieces, trainer.grid(), batch));
  trainer.evaluate(batch);
  const Values logits = golden.values("logits");
  const double reference = golden.note({"from_pretrained_vs_f64_max_abs"}, 0);
  report.compare(
      "logits", pieces.merged(world, "logits", logits.size()), logits,
      options.dtype == DType::kF64 ? relative(1e-9)
                                   : absolute(std::max(2e-5, 10 * reference)));
}

}  // namespace timepipe::golden
