// Commands around a trained model, on folders as the official code wrote them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "launcher/checkpoint/checkpoint_files.h"
#include "launcher/checkpoint/hf_fixture.h"
#include "launcher/checkpoint/open_model.h"
#include "launcher/checkpoint/weights_checkpoint.h"
#include "launcher/commands/commands.h"
#include "launcher/huggingface/hf_folder.h"
#include "runtime/files.h"
#include "runtime/safetensors.h"
#include "tests/support/temporary_file.h"
#include "tests/support/tensors.h"
#include "tests/support/throws.h"

namespace timepipe {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::throws;
using testing::to_f64;

// Those of the repository, and all others where they are at hand.
std::vector<std::string> hf_goldens() {
  std::vector<std::string> folders;
  for (const char* root : {TIMEPIPE_GOLDENS, TIMEPIPE_MORE_GOLDENS}) {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(root, error)) {
      if (entry.path().filename().string().starts_with("hf_")) {
        folders.push_back(entry.path());
      }
    }
  }
  return folders;
}

// The exit status of `timepipe ARGUMENT...`. Throws what the command throws.
int timepipe(std::vector<std::string> arguments) {
  CLI::App app;
  int status = -1;
  add_eval(app, status);
  add_score(app, status);
  add_checkpoint(app, status);
  std::ranges::reverse(arguments);  // as CLI11 takes them
  app.parse(arguments);
  return status;
}

class ModelCommands : public ::testing::Test {
 protected:
  ModelCommands() : path_(testing::TemporaryFile::unused_path()) {
    fs::create_directories(path_);
  }
  ~ModelCommands() override {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  std::string at(const std::string& name) const { return path_ / name; }

  fs::path path_;
};

bool same_file(const std::string& a, const std::string& b) {
  return read_text(a) == read_text(b);
}

TEST_F(ModelCommands, ImportExportImportKeepsAllBits) {
  ASSERT_GE(hf_goldens().size(), 2U);
  for (const std::string& golden : hf_goldens()) {
    const auto config =
        nlohmann::json::parse(read_text(golden + "/config.json"));
    const std::string dtype =
        config["torch_dtype"] == "bfloat16" ? "bf16" : "f32";
    fs::remove_all(path_);
    ASSERT_EQ(timepipe({"checkpoint", "import", golden, at("first")}), 0);
    ASSERT_EQ(timepipe({"checkpoint", "export", at("first"), at("hf"),
                        "--dtype", dtype, "--shard-bytes", "70000"}),
              0);
    ASSERT_EQ(timepipe({"checkpoint", "verify-export", at("hf")}), 0);
    ASSERT_EQ(timepipe({"checkpoint", "import", at("hf"), at("again")}), 0);

    EXPECT_EQ(timepipe({"checkpoint", "diff", at("first"), at("again")}), 0)
        << golden;
    EXPECT_TRUE(same_file(golden + "/config.json", at("hf") + "/config.json"))
        << golden;
    Context ctx;
    const OpenModel original = open_model(ctx, golden);
    const OpenModel back = open_model(ctx, at("again"));
    for (const Parameter& p : original.model->weights().layout().parameters()) {
      EXPECT_TRUE(testing::same_bits(ctx,
                                     original.model->weights().value(p.name),
                                     back.model->weights().value(p.name)))
          << p.name;
    }
  }
}

// Of a file that the official code cut in two, and of one that it didn't.
TEST_F(ModelCommands, ExportMakesTheFilesOfTheOfficialCode) {
  for (const std::string& golden : hf_goldens()) {
    const auto config =
        nlohmann::json::parse(read_text(golden + "/config.json"));
    const bool bf16 = config["torch_dtype"] == "bfloat16";
    fs::remove_all(path_);
    ASSERT_EQ(timepipe({"checkpoint", "export", golden, at("hf"), "--dtype",
                        bf16 ? "bf16" : "f32"}),
              0);
    for (const auto& entry : fs::directory_iterator(golden)) {
      const std::string name = entry.path().filename().string();
      if (!name.starts_with("model") || !name.ends_with(".safetensors")) {
        continue;
      }
      const auto file = SafetensorsFile::read(entry.path());
      const auto ours = SafetensorsFile::read(at("hf") + "/model.safetensors");
      for (const std::string& tensor : file.names()) {
        EXPECT_EQ(ours.entry(tensor).dtype, file.entry(tensor).dtype);
        EXPECT_EQ(ours.entry(tensor).shape, file.entry(tensor).shape);
        EXPECT_TRUE(std::ranges::equal(ours.bytes(tensor), file.bytes(tensor)))
            << tensor;
      }
    }
  }
}

TEST_F(ModelCommands, ScoreGivesTheGoldenLogits) {
  for (const std::string& golden : hf_goldens()) {
    const auto notes = nlohmann::json::parse(read_text(golden + "/notes.json"));
    const auto file = SafetensorsFile::read(golden + "/case.safetensors");
    const std::vector<double> expected = to_f64(file.get("logits"));
    const double f32 = std::max(
        2e-5, 10 * notes["from_pretrained_vs_f64_max_abs"].get<double>());
    for (const char* dtype : {"f32", "f64"}) {
      ASSERT_EQ(
          timepipe({"score", golden, "--tokens", golden + "/case.safetensors",
                    "--logits", at("out"), "--dtype", dtype}),
          0);
      const auto out = SafetensorsFile::read(at("out"));
      EXPECT_EQ(out.entry("logits").shape, file.entry("logits").shape);
      const double tolerance = dtype == std::string("f64") ? 1e-9 : f32;
      EXPECT_TRUE(
          testing::close(to_f64(out.get("logits")), expected, tolerance));

      const HostArray ids = file.get("input_ids");
      const int64_t rows = ids.shape()[0], T = ids.shape()[1];
      const int64_t vocab = out.entry("logits").shape[2];
      EXPECT_EQ(out.entry("loss").shape, (Shape{rows, T - 1}));
      const std::vector<double> loss = to_f64(out.get("loss"));
      for (int64_t i = 0; i < rows * (T - 1); ++i) {
        const int64_t at = i / (T - 1) * T + i % (T - 1);
        double sum = 0;
        for (int64_t v = 0; v < vocab; ++v) {
          sum += std::exp(expected[at * vocab + v]);
        }
        const int64_t next = ids.values<int64_t>()[at + 1];
        EXPECT_NEAR(loss[i], std::log(sum) - expected[at * vocab + next],
                    2 * tolerance);
      }
    }
  }
}

// Ids whose documents have so many tokens.
void write_documents(const std::string& path, std::span<const uint16_t> ids,
                     const std::vector<int64_t>& lengths) {
  std::vector<int64_t> starts;
  int64_t end = 0;
  for (const int64_t length : lengths) {
    starts.push_back(end);
    end += length;
  }
  const std::vector<SafetensorsItem> items = {
      {"documents",
       "I64",
       {std::ssize(starts)},
       std::as_bytes(std::span(starts))},
      {"tokens", "U16", {end}, std::as_bytes(ids.first(end))}};
  write_safetensors(path, items);
}

TEST_F(ModelCommands, EvalReadsDocumentsAsItIsTold) {
  const std::string golden = hf_goldens().front();
  std::vector<uint16_t> ids;
  for (int i = 0; i < 40; ++i) ids.push_back(i * i % 61);
  const std::span<const uint16_t> all(ids);
  write_documents(at("both.safetensors"), all, {13, 27});
  write_documents(at("first.safetensors"), all, {13});
  write_documents(at("second.safetensors"), all.subspan(13), {27});
  const auto loss = [&](const std::string& file, const std::string& documents,
                        int64_t predictions) {
    EXPECT_EQ(timepipe({"eval", golden, "--data", at(file + ".safetensors"),
                        "--documents", documents, "--json", at("json")}),
              0);
    const auto found = nlohmann::json::parse(read_text(at("json")));
    EXPECT_EQ(found["documents"], documents);
    EXPECT_EQ(found["tokens"], predictions);
    return found["loss"].get<double>();
  };
  const double first = loss("first", "reset", 12);
  const double second = loss("second", "reset", 26);
  EXPECT_NEAR(loss("both", "reset", 38), (12 * first + 26 * second) / 38, 1e-5);
  EXPECT_NEAR(loss("second", "joined", 26), second, 1e-5);
  EXPECT_NE(loss("both", "carry", 38), loss("both", "reset", 38));
  loss("both", "joined", 39);
}

TEST_F(ModelCommands, VerifyExportFindsAnotherWeight) {
  const std::string golden = hf_goldens().front();
  ASSERT_EQ(timepipe({"checkpoint", "export", golden, at("hf")}), 0);
  HfConfig config = read_hf_config(at("hf"));
  Context ctx;
  LanguageModel model(ctx, config.model, DType::kF32);
  read_hf_weights(ctx, at("hf"), model.weights());
  const Tensor weight = model.weights().value("model.norm.weight").slice(3, 4);
  testing::fill(ctx, to_f64(ctx, weight)[0] + 0.01, weight);
  write_hf_folder(ctx, at("other"), config, model.weights(), HfDType::kF32);
  fs::rename(at("other") + "/model.safetensors",
             at("hf") + "/model.safetensors");
  EXPECT_EQ(timepipe({"checkpoint", "verify-export", at("hf")}), 1);
  const std::string fixture = at("hf") + "/timepipe_fixture.safetensors";
  fs::remove(fixture);
  EXPECT_THAT(
      [&] {
        timepipe({"checkpoint", "verify-export", at("hf")});
      },
      throws<IoError>(fixture +
                      ": no fixture: not made by timepipe checkpoint export"));
}

TEST_F(ModelCommands, ImportLeavesNothingWhenItFails) {
  const std::string golden = hf_goldens().front();
  HfConfig config = read_hf_config(golden);
  Context ctx;
  LanguageModel model(ctx, config.model, DType::kF32);
  read_hf_weights(ctx, golden, model.weights());
  testing::fill(ctx, std::numeric_limits<double>::infinity(),
                model.weights().value("model.norm.weight").slice(0, 1));
  write_hf_folder(ctx, at("hf"), config, model.weights(), HfDType::kF32);
  EXPECT_THAT(
      [&] {
        timepipe({"checkpoint", "import", at("hf"), at("run")});
      },
      throws<InvalidArgument>(HasSubstr("aren't finite")));
  EXPECT_FALSE(fs::exists(at("run")));
  EXPECT_THAT(
      [&] {
        timepipe({"checkpoint", "import", golden, at("hf")});
      },
      throws<InvalidArgument>(HasSubstr("is there already")));
}

TEST_F(ModelCommands, OpenModelConvertsBetweenPrecisions) {
  const std::string golden = hf_goldens().front();
  ASSERT_EQ(timepipe({"checkpoint", "import", golden, at("run")}), 0);
  Context ctx;
  const OpenModel f32 = open_model(ctx, at("run"));
  const OpenModel f64 = open_model(ctx, at("run"), DType::kF64);
  EXPECT_EQ(f32.config.train.dtype, DType::kF32);
  EXPECT_EQ(f64.config.train.dtype, DType::kF64);
  for (const Parameter& p : f32.model->weights().layout().parameters()) {
    EXPECT_TRUE(testing::close(ctx, f64.model->weights().value(p.name),
                               to_f64(ctx, f32.model->weights().value(p.name)),
                               0));
  }
}

// A checkpoint of weights in f64, one of which is that.
void write_checkpoint_with(double number, const std::string& golden,
                           const std::string& run_dir) {
  Context ctx;
  OpenModel opened = open_model(ctx, golden, DType::kF64);
  const Tensor norm = opened.model->weights().value("model.norm.weight");
  testing::fill(ctx, number, norm.slice(2, 3));
  write_weights_checkpoint(ctx, run_dir, opened.config, "",
                           opened.model->weights());
}

TEST_F(ModelCommands, CheckpointsWithNumbersThatAreNotFiniteAreNotOpened) {
  const std::string golden = hf_goldens().front();
  write_checkpoint_with(std::numeric_limits<double>::quiet_NaN(), golden,
                        at("nan"));
  write_checkpoint_with(1e300, golden, at("large"));
  Context ctx;
  EXPECT_THAT([&] { open_model(ctx, at("nan")); },
              throws<InvalidArgument>(
                  AllOf(HasSubstr("weights.model.norm.weight: 1 of"),
                        HasSubstr("the first at [2]: nan"))));
  EXPECT_EQ(open_model(ctx, at("large")).config.train.dtype, DType::kF64);
  EXPECT_THAT([&] { open_model(ctx, at("large"), DType::kF32); },
              throws<InvalidArgument>(
                  HasSubstr("finite as f32, the first at [2]: 1e+300")));
  EXPECT_THAT(
      [&] {
        timepipe({"checkpoint", "export", at("nan"), at("hf")});
      },
      throws<InvalidArgument>(HasSubstr("aren't finite")));
  EXPECT_THAT(
      [&] {
        timepipe({"checkpoint", "export", at("large"), at("hf")});
      },
      throws<InvalidArgument>(
          HasSubstr("model.norm.weight: element 2: 1.00000000e+300")));
}

TEST_F(ModelCommands, CheckpointsOfF64AreExported) {
  const std::string golden = hf_goldens().front();
  write_checkpoint_with(1.5, golden, at("run"));
  ASSERT_EQ(timepipe({"checkpoint", "export", at("run"), at("hf")}), 0);
  EXPECT_EQ(timepipe({"checkpoint", "verify-export", at("hf")}), 0);
  Context ctx;
  const OpenModel back = open_model(ctx, at("hf"));
  const Tensor norm = back.model->weights().value("model.norm.weight");
  EXPECT_EQ(to_f64(ctx, norm).at(2), 1.5);
}

TEST_F(ModelCommands, FixtureMustBeFinite) {
  const std::string golden = hf_goldens().front();
  ASSERT_EQ(timepipe({"checkpoint", "export", golden, at("hf")}), 0);
  const std::string path = at("hf") + "/" + kFixtureFile;
  const auto file = SafetensorsFile::read(path);
  HostArray logits = file.get("logits");
  logits.values<double>()[1] = std::numeric_limits<double>::quiet_NaN();
  const HostArray ids = file.get("input_ids"),
                  error = file.get("f32_max_abs_error");
  const SafetensorsItem items[] = {
      safetensors_item("input_ids", ids), safetensors_item("logits", logits),
      safetensors_item("f32_max_abs_error", error)};
  write_safetensors(path, items);
  EXPECT_THAT(
      [&] {
        timepipe({"checkpoint", "verify-export", at("hf")});
      },
      throws<InvalidArgument>(HasSubstr(path + ": logits: 1 of")));
}

}  // namespace
}  // namespace timepipe
