// timepipe checkpoint import, export and verify-export: Hugging Face folders.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "launcher/checkpoint/hf_fixture.h"
#include "launcher/checkpoint/open_model.h"
#include "launcher/checkpoint/weights_checkpoint.h"
#include "launcher/commands/commands.h"
#include "launcher/commands/shared_options.h"
#include "launcher/huggingface/hf_folder.h"
#include "launcher/process/result_file.h"
#include "launcher/tokenizer/tokenizer.h"
#include "models/model_size.h"

namespace timepipe {
namespace {

// A run's sentencepiece model goes with its weights: the ids of start and end
// into config.json, unless that was imported, the file into the folder.
std::string tokenizer_model(OpenModel& opened) {
  std::string path = tokenizer_path(opened.config.data.tokenizer);
  if (path.empty()) return "";
  try {
    const auto tokenizer = make_tokenizer(path);
    if (!opened.from_hf) {
      opened.hf.bos_token_id = tokenizer->bos_id();
      opened.hf.eos_token_ids.clear();
      if (const auto eos = tokenizer->eos_id()) {
        opened.hf.eos_token_ids.push_back(*eos);
      }
    }
    return path;
  } catch (const std::exception& error) {  // the weights don't need it
    std::fprintf(stderr, "timepipe: exported without a tokenizer: %s\n",
                 error.what());
    return "";
  }
}

// Makes a run folder with one checkpoint of a Hugging Face folder's weights.
int import_folder(const std::string& hf_folder, const std::string& run_dir) {
  require_hf_folder(hf_folder);
  Context ctx;
  const OpenModel opened = open_model(ctx, hf_folder);
  const ParameterStore& weights = opened.model->weights();
  // Throws unless what the model gives is finite.
  logits_of(ctx, *opened.model, fixture_ids(opened.config.model));
  write_weights_checkpoint(ctx, run_dir, opened.config,
                           hf_config_text(opened.hf, "float32"), weights);
  std::printf("imported %zu tensors, %" PRId64
              " elements, into %s (no tensor missing, none left over; a short "
              "forward pass is finite)\n",
              weights.layout().parameters().size(),
              count_parameters(weights.layout()).total(), run_dir.c_str());
  return 0;
}

// Makes a Hugging Face folder of a checkpoint, and a fixture in it. dtype: f32
// or bf16.
int export_folder(const std::string& checkpoint, const std::string& hf_folder,
                  const std::string& dtype, int64_t shard_bytes) {
  require_no_input("HF_FOLDER", hf_folder, {{"CHECKPOINT", checkpoint}});
  std::string tokenizer;
  {
    Context ctx;
    OpenModel opened = open_model(ctx, checkpoint);
    tokenizer = tokenizer_model(opened);
    write_hf_folder(ctx, hf_folder, opened.hf, opened.model->weights(),
                    dtype == "bf16" ? HfDType::kBF16 : HfDType::kF32,
                    shard_bytes);
    std::printf("exported %s, step %" PRId64 ", to %s in %s\n",
                opened.folder.c_str(), opened.steps, hf_folder.c_str(),
                dtype.c_str());
  }  // the weights are read back from the folder
  try {
    if (!tokenizer.empty()) {
      std::filesystem::copy_file(tokenizer, hf_folder + "/tokenizer.model");
    }
    write_fixture(hf_folder);
  } catch (...) {  // without it the export isn't whole
    std::error_code ignored;
    std::filesystem::remove_all(hf_folder, ignored);
    throw;
  }
  std::printf(
      "%s holds token ids and their logits; `timepipe checkpoint "
      "verify-export` checks them\n",
      kFixtureFile);
  return 0;
}

// Compares an export's logits with its fixture; 1 and where they differ.
int verify_export(const std::string& hf_folder) {
  require_hf_folder(hf_folder);
  const FixtureCheck check = check_fixture(hf_folder);
  if (!check.ok()) {
    std::fprintf(stderr,
                 "timepipe: %s: logits differ from those of %s by %.3g at "
                 "token %" PRId64 ", id %" PRId64 ", expected at most %.3g\n",
                 hf_folder.c_str(), kFixtureFile, check.max_abs, check.token,
                 check.id, check.tolerance);
    return 1;
  }
  std::printf(
      "%s: ok: logits within %.3g of the fixture's, expected at most "
      "%.3g\n",
      hf_folder.c_str(), check.max_abs, check.tolerance);
  return 0;
}

}  // namespace

void add_exchange(CLI::App& checkpoint, int& status) {
  struct Arguments {
    std::string from, to, dtype = "f32";
    int64_t shard_bytes = 5'000'000'000;
  };
  const auto a = std::make_shared<Arguments>();
  CLI::App& read = *checkpoint.add_subcommand(
      "import", "Make a run folder of a Hugging Face folder");
  read.add_option("HF_FOLDER", a->from, "config.json and safetensors")
      ->required();
  read.add_option("RUN_DIR", a->to, "Folder to make")->required();
  read.footer("Example:\n  timepipe checkpoint import ttt-1.3b runs/ttt");
  read.callback([=, &status] { status = import_folder(a->from, a->to); });
  CLI::App& write = *checkpoint.add_subcommand(
      "export", "Make a Hugging Face folder of a checkpoint");
  write.add_option("CHECKPOINT", a->from, kCheckpointHelp)->required();
  write.add_option("HF_FOLDER", a->to, "Folder to make")->required();
  write.add_option("--dtype", a->dtype, "Type of the weights there")
      ->check(CLI::IsMember({"f32", "bf16"}))
      ->capture_default_str();
  write.add_option("--shard-bytes", a->shard_bytes, "Size of a file, at most")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 50))
      ->capture_default_str();
  write.footer("Example:\n  timepipe checkpoint export runs/bible bible-hf");
  write.callback([=, &status] {
    status = export_folder(a->from, a->to, a->dtype, a->shard_bytes);
  });
  CLI::App& verify = *checkpoint.add_subcommand(
      "verify-export", "Check the logits of an exported folder");
  verify.add_option("HF_FOLDER", a->from, "What export made")->required();
  verify.footer("Example:\n  timepipe checkpoint verify-export bible-hf");
  verify.callback([=, &status] { status = verify_export(a->from); });
}

}  // namespace timepipe
