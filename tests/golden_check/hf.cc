#include <filesystem>

#include "launcher/huggingface/hf_folder.h"
#include "tests/golden_check/golden.h"

namespace timepipe::golden {

void check_hf(const Options& options, const Case& golden, Communicator& world,
              Report& report) {
  const ModelConfig config = read_hf_config(options.directory).model;
  const HostArray ids = golden.array("input_ids");
  const int64_t B = ids.shape().at(0), L = ids.shape().at(1);
  const auto [train, parallel] = layout_of(options, config, L, world, report);
  const int64_t copies = options.micro_batch;

  Context ctx(options.device);
  Trainer trainer(ctx, world, config, train, parallel, {});
  read_hf_weights(ctx, options.directory, trainer.model().weights());
  Batch batch;  // the labels don't matter: only logits are compared
  for (int64_t b = 0; b < B; ++b) {
    const auto row = ids.values<int64_t>().subspan(b * L, L);
    batch.push_back({.ids = {row.begin(), row.end()},
                     .targets = {row.begin(), row.end()},
                     .documents = {{0, L, true}},
                     .loss_scale = 1.0 / static_cast<double>(B * L)});
  }
  Pieces pieces(copies * B, L);
  trainer.model().set_observer(record(ctx, pieces, trainer.grid()));
  trainer.evaluate(repeated(batch, copies));
  const Values logits = golden.values("logits");
  const double reference = golden.note({"from_pretrained_vs_f64_max_abs"}, 0);
  report.compare_copies(
      "logits", pieces.merged(world, "logits", copies * logits.size()), logits,
      copies,
      options.dtype == DType::kF64 ? relative(1e-9)
                                   : absolute(std::max(2e-5, 10 * reference)));
}

}  // namespace timepipe::golden
