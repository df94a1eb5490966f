#include "launcher/huggingface/hf_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "models/build.h"
#include "models/language_model.h"
#include "runtime/files.h"
#include "runtime/safetensors.h"
#include "tests/support/temporary_file.h"
#include "tests/support/tensors.h"
#include "tests/support/test_device.h"

namespace timepipe {
namespace {

using testing::TestContext;

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::TestContext;

const std::string kGolden = TIMEPIPE_GOLDENS "/hf_linear_tied_f32";

class HfFolder : public ::testing::Test {
 protected:
  HfFolder() : path_(testing::TemporaryFile::unused_path()) {
    fs::create_directories(path_);
  }
  ~HfFolder() override {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  std::string folder(const char* name) const { return path_ / name; }
  std::string copy_of_golden(const char* name) const {
    fs::copy(kGolden, folder(name));
    return folder(name);
  }

  TestContext ctx_;
  fs::path path_;
};

ModelConfig small_config() {
  ModelConfig c;
  c.vocab_size = 40;
  c.hidden_size = 32;
  c.intermediate_size = 48;
  c.num_layers = 2;
  c.num_heads = 2;
  c.inner = InnerModel::kMlp;
  c.use_gate = c.share_qk = c.pre_conv = true;
  c.tie_word_embeddings = false;
  return c;
}

template <class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "no error";
}

std::string config_error(const std::string& text) {
  return error_of([&] { parse_hf_config(text, "c"); });
}

TEST(HfConfigText, MissingFieldsHaveTheOfficialDefaults) {
  const HfConfig c = parse_hf_config("{}", "c");
  EXPECT_EQ(c.model.vocab_size, 32000);
  EXPECT_EQ(c.model.hidden_size, 2048);
  EXPECT_EQ(c.model.intermediate_size, 5504);
  EXPECT_EQ(c.model.num_layers, 24);
  EXPECT_EQ(c.model.num_heads, 32);
  EXPECT_TRUE(c.model.tie_word_embeddings);
  EXPECT_EQ(c.bos_token_id, 1);
  EXPECT_EQ(c.pad_token_id, std::nullopt);
}

TEST(HfConfigText, NamesWhatItCannotHonour) {
  EXPECT_EQ(config_error("[]"), "c: not a JSON object");
  EXPECT_EQ(config_error(R"({"hidden_act": "gelu"})"),
            R"(c: hidden_act: "gelu", expected "silu")");
  EXPECT_EQ(config_error(R"({"vocab_size": "a"})"),
            R"(c: vocab_size: "a", expected an integer)");
  EXPECT_THAT(config_error(R"({"vocab_size": 18446744073709551615})"),
              HasSubstr("expected an integer"));
  EXPECT_THAT(config_error(R"({"rope_scaling": {"factor": 2}})"),
              HasSubstr("c: rope_scaling: {\"factor\":2}"));
  EXPECT_EQ(config_error(R"({"rope_scaling": null})"), "no error");
  EXPECT_EQ(config_error(R"({"ttt_layer_type": "gru"})"),
            "c: ttt_layer_type: gru, expected linear or mlp");
  EXPECT_THAT(config_error(R"({"num_attention_heads": 7})"),
              HasSubstr("c: hidden_size: 2048, expected a multiple of"));
  EXPECT_THAT(config_error(R"({"model_type": "llama"})"),
              HasSubstr(R"(expected "ttt")"));
}

// As config.to_dict() of transformers 4 and 5 has them, at their defaults.
TEST(HfConfigText, PassesOverWhatTheLibraryKeepsForItself) {
  EXPECT_EQ(config_error(R"({
        "dtype": "float32", "torch_dtype": "float32", "architectures": null,
        "transformers_version": "5.1.0", "_name_or_path": "a/b",
        "_commit_hash": null, "_attn_implementation_autoset": true,
        "auto_map": {"AutoConfig": "ttt.TTTConfig"}, "tokenizer_class": null,
        "return_dict": true, "output_hidden_states": false,
        "output_attentions": false, "torchscript": false,
        "use_bfloat16": false, "tf_legacy_loss": false, "use_cache": true,
        "pruned_heads": {}, "chunk_size_feed_forward": 0, "is_decoder": false,
        "is_encoder_decoder": false, "cross_attention_hidden_size": null,
        "add_cross_attention": false, "tie_encoder_decoder": false,
        "finetuning_task": null, "id2label": {"0": "LABEL_0", "1": "LABEL_1"},
        "label2id": {"LABEL_0": 0, "LABEL_1": 1}, "problem_type": null,
        "task_specific_params": null, "prefix": null, "sep_token_id": null,
        "decoder_start_token_id": null, "max_length": 20, "min_length": 0,
        "do_sample": false, "early_stopping": false, "num_beams": 1,
        "num_beam_groups": 1, "diversity_penalty": 0.0, "temperature": 1.0,
        "top_k": 50, "top_p": 1.0, "typical_p": 1.0,
        "repetition_penalty": 1.0, "length_penalty": 1.0,
        "no_repeat_ngram_size": 0, "encoder_no_repeat_ngram_size": 0,
        "bad_words_ids": null, "num_return_sequences": 1,
        "output_scores": false, "return_dict_in_generate": false,
        "forced_bos_token_id": null, "forced_eos_token_id": null,
        "remove_invalid_values": false, "suppress_tokens": null,
        "exponential_decay_length_penalty": null,
        "begin_suppress_tokens": null, "num_key_value_heads": 32,
        "max_position_embeddings": null, "rope_scaling": null,
        "quantization_config": null})"),
            "no error");
}

// Attributes of the library, and of other models of this name, that would
// change what is computed.
TEST(HfConfigText, NamesFieldsOfTheLibraryThatChangeTheModel) {
  for (const char* field :
       {R"("quantization_config": {"bits": 4})",
        R"("is_encoder_decoder": true)", R"("add_cross_attention": true)",
        R"("pruned_heads": {"0": [1]})", R"("num_key_value_heads": 8)",
        R"("sliding_window": 4096)", R"("num_heads": 2)",
        R"("attn_mode": "chunk")", R"("architectures": ["TTTModel"])",
        R"("hidden_size": null)", R"("eos_token_id": "2")",
        R"("eos_token_id": [2, null])",
        R"("eos_token_id": [18446744073709551615])",
        R"("rope_parameters": {"rope_type": "linear", "factor": 2})",
        R"("rope_parameters": {"rope_theta": 5.0}, "rope_theta": 6.0)"}) {
    const std::string name(field + 1, std::strchr(field + 1, '"'));
    EXPECT_THAT(config_error(std::string("{") + field + "}"),
                HasSubstr("c: " + name + ": "));
  }
}

TEST(HfConfigText, RotaryBaseWhereTransformers5KeepsIt) {
  const auto theta = [](const char* text) {
    return parse_hf_config(text, "c").model.rope_theta;
  };
  EXPECT_EQ(theta(R"({"rope_parameters":
                      {"rope_type": "default", "rope_theta": 500000.0}})"),
            500000);
  EXPECT_EQ(theta(R"({"rope_theta": 7, "rope_scaling": {"type": "default"},
                      "rope_parameters": {"rope_theta": 7.0}})"),
            7);
  EXPECT_EQ(theta(R"({"rope_parameters": null})"), 10000);
}

TEST(HfConfigText, EndTokensAreOneOrSeveralOrNone) {
  const auto ends = [](const std::string& eos) {
    const HfConfig c = parse_hf_config("{\"eos_token_id\": " + eos + "}", "c");
    const std::string text = hf_config_text(c, "float32");
    EXPECT_EQ(hf_config_text(parse_hf_config(text, "c"), "float32"), text);
    return c.eos_token_ids;
  };
  EXPECT_THAT(ends("7"), ElementsAre(7));
  EXPECT_THAT(ends("[7, 3]"), ElementsAre(7, 3));
  EXPECT_THAT(ends("[]"), ElementsAre());
  EXPECT_THAT(ends("null"), ElementsAre());
}

TEST(HfConfigText, WrittenIsReadBack) {
  HfConfig c;
  c.model = small_config();
  c.model.ttt_base_lr = 0.1;
  c.eos_token_ids.clear();
  const std::string text = hf_config_text(c, "bfloat16");
  const HfConfig back = parse_hf_config(text, "c");
  EXPECT_EQ(back.model.inner, InnerModel::kMlp);
  EXPECT_FALSE(back.model.tie_word_embeddings);
  EXPECT_THAT(back.eos_token_ids, ElementsAre());
  EXPECT_EQ(hf_config_text(back, "bfloat16"), text);
}

// What the official code wrote comes out again, byte for byte.
TEST_F(HfFolder, ImportExportMakesTheSameFiles) {
  const HfConfig config = read_hf_config(kGolden);
  LanguageModel model(ctx_, config.model, DType::kF32);
  read_hf_weights(ctx_, kGolden, model.weights());
  write_hf_folder(ctx_, folder("out"), config, model.weights(), HfDType::kF32);
  for (const char* file : {"/config.json", "/model.safetensors"}) {
    EXPECT_TRUE(read_text(folder("out") + file) == read_text(kGolden + file))
        << file << " differs";
  }
}

TEST_F(HfFolder, ShardsHoldTheSameBits) {
  HfConfig config;
  config.model = small_config();
  LanguageModel model(ctx_, config.model, DType::kF32);
  initialise(ctx_, config.model, 1, model.weights());
  write_hf_folder(ctx_, folder("out"), config, model.weights(), HfDType::kF32,
                  20000);
  EXPECT_FALSE(fs::exists(folder("out") + "/model.safetensors"));
  EXPECT_TRUE(fs::exists(folder("out") + "/model.safetensors.index.json"));
  LanguageModel back(ctx_, read_hf_config(folder("out")).model, DType::kF32);
  read_hf_weights(ctx_, folder("out"), back.weights());
  EXPECT_TRUE(
      testing::same_bits(ctx_, model.weights().flat(), back.weights().flat()));
}

TEST_F(HfFolder, Bf16IsRoundedOnce) {
  HfConfig config;
  config.model = small_config();
  LanguageModel model(ctx_, config.model, DType::kF32);
  initialise(ctx_, config.model, 1, model.weights());
  write_hf_folder(ctx_, folder("a"), config, model.weights(), HfDType::kBF16);
  read_hf_weights(ctx_, folder("a"), model.weights());
  write_hf_folder(ctx_, folder("b"), config, model.weights(), HfDType::kBF16);
  EXPECT_TRUE(read_text(folder("a") + "/model.safetensors") ==
              read_text(folder("b") + "/model.safetensors"));
  EXPECT_EQ(SafetensorsFile::read(folder("a") + "/model.safetensors")
                .entry("lm_head.weight")
                .dtype,
            "BF16");
}

TEST_F(HfFolder, WeightsOfF64AreRoundedOrNamed) {
  HfConfig config = read_hf_config(kGolden);
  LanguageModel wide(ctx_, config.model, DType::kF64),
      narrow(ctx_, config.model, DType::kF32);
  read_hf_weights(ctx_, kGolden, wide.weights());
  write_hf_folder(ctx_, folder("exact"), config, wide.weights(), HfDType::kF32);
  EXPECT_TRUE(read_text(folder("exact") + "/model.safetensors") ==
              read_text(kGolden + "/model.safetensors"));
  const auto number_of = [](const LanguageModel& model) {
    return model.weights().value("model.norm.weight").slice(2, 3);
  };
  // What the folder holds of a number.
  const auto exported = [&](double number, const char* name, HfDType dtype) {
    testing::fill(ctx_, number, number_of(wide));
    write_hf_folder(ctx_, folder(name), config, wide.weights(), dtype);
    read_hf_weights(ctx_, folder(name), narrow.weights());
    return testing::to_f64(ctx_, number_of(narrow)).at(0);
  };
  EXPECT_EQ(exported(1 + 0x1p-24 + 0x1p-40, "f32", HfDType::kF32), 1 + 0x1p-23);
  EXPECT_EQ(exported(1 + 0x1p-8 + 0x1p-40, "bf16", HfDType::kBF16), 1 + 0x1p-7);
  EXPECT_EQ(error_of([&] { exported(1e300, "large", HfDType::kF32); }),
            "model.norm.weight: element 2: 1.00000000e+300, expected a number "
            "that f32 can hold");
  EXPECT_FALSE(fs::exists(folder("large")));
}

TEST_F(HfFolder, NamesMissingUnexpectedAndMisshapenTensors) {
  ModelConfig config = read_hf_config(kGolden).model;
  config.tie_word_embeddings = false;
  config.intermediate_size = 80;
  LanguageModel untied(ctx_, config, DType::kF32);
  const std::string error =
      error_of([&] { read_hf_weights(ctx_, kGolden, untied.weights()); });
  EXPECT_THAT(error, HasSubstr("missing lm_head.weight [64,48]"));
  EXPECT_THAT(error, HasSubstr("model.layers.0.mlp.up_proj.weight: shape "
                               "[64,48], expected [80,48]"));
  config = read_hf_config(kGolden).model;
  config.num_layers = 2;
  LanguageModel deeper(ctx_, config, DType::kF32);
  initialise(ctx_, config, 1, deeper.weights());
  HfConfig deep;
  deep.model = config;
  write_hf_folder(ctx_, folder("deep"), deep, deeper.weights(), HfDType::kF32);
  config.num_layers = 1;
  LanguageModel shallow(ctx_, config, DType::kF32);
  EXPECT_THAT(error_of([&] {
                read_hf_weights(ctx_, folder("deep"), shallow.weights());
              }),
              HasSubstr("unexpected model.layers.1."));
}

TEST_F(HfFolder, ByteOrderMarksArePassedOverAndPointersNamed) {
  const std::string path = copy_of_golden("mark"),
                    config = path + "/config.json";
  write_file(config, "\xef\xbb\xbf" + read_text(config));
  EXPECT_EQ(read_hf_config(path).model.hidden_size,
            read_hf_config(kGolden).model.hidden_size);
  write_file(config, "version https://git-lfs.github.com/spec/v1\n");
  EXPECT_THAT(error_of([&] { read_hf_config(path); }),
              HasSubstr("config.json: a pointer of Git LFS"));
}

TEST_F(HfFolder, EndTokensOfGenerationConfigCount) {
  const std::string path = copy_of_golden("generation"),
                    generation = path + "/generation_config.json";
  const auto ends = [&](const std::string& text) {
    write_file(generation, text);
    return read_hf_config(path).eos_token_ids;
  };
  EXPECT_THAT(ends(R"({"eos_token_id": [7, 3], "top_k": 5})"),
              ElementsAre(7, 3));
  EXPECT_THAT(ends(R"({"eos_token_id": 5})"), ElementsAre(5));
  EXPECT_THAT(ends(R"({"eos_token_id": null})"), ElementsAre());
  EXPECT_THAT(ends(R"({"bos_token_id": 5})"), ElementsAre(2));
  EXPECT_EQ(read_hf_config(path).bos_token_id, 1);
  EXPECT_THAT(
      error_of([&] { ends(R"({"eos_token_id": "a"})"); }),
      HasSubstr("/generation_config.json: eos_token_id: \"a\", expect"));
  EXPECT_EQ(error_of([&] { ends("[]"); }), generation + ": not a JSON object");
  fs::remove(generation);
  EXPECT_THAT(read_hf_config(path).eos_token_ids, ElementsAre(2));
}

TEST_F(HfFolder, WeightsOfAnotherFormAreNamed) {
  const std::string path = copy_of_golden("torch");
  require_hf_weights(path);
  require_hf_weights(folder("none"));
  fs::rename(path + "/model.safetensors", path + "/pytorch_model.bin");
  EXPECT_THAT(error_of([&] { require_hf_weights(path); }),
              ::testing::StartsWith(
                  path + ": has config.json and pytorch_model.bin, expected "
                         "model.safetensors or model.safetensors.index.json"));
  fs::remove(path + "/pytorch_model.bin");
  EXPECT_EQ(error_of([&] { require_hf_weights(path); }),
            path +
                ": has config.json, expected model.safetensors or "
                "model.safetensors.index.json beside it");
}

TEST_F(HfFolder, AnIndexCannotLeaveItsFolder) {
  const std::string path = copy_of_golden("evil");
  fs::remove(path + "/model.safetensors");
  LanguageModel model(ctx_, read_hf_config(path).model, DType::kF32);
  for (const char* file : {"../a.safetensors", "/etc/passwd", "..", "",
                           "a/../../b", "a/", ".", "a/."}) {
    write_file(
        path + "/model.safetensors.index.json",
        nlohmann::json{{"weight_map", {{"model.norm.weight", file}}}}.dump());
    EXPECT_THAT(error_of([&] { read_hf_weights(ctx_, path, model.weights()); }),
                HasSubstr("expected the path of a file from this folder on"));
  }
}

TEST_F(HfFolder, ShardsMayLieInFoldersBelow) {
  const std::string path = copy_of_golden("below");
  LanguageModel model(ctx_, read_hf_config(path).model, DType::kF32),
      back(ctx_, model.config(), DType::kF32);
  read_hf_weights(ctx_, path, model.weights());
  nlohmann::json map;
  for (const Parameter& p : model.weights().layout().parameters()) {
    map[p.name] = "a/b..c/model.safetensors";
  }
  write_file(path + "/model.safetensors.index.json",
             nlohmann::json{{"weight_map", map}}.dump());
  fs::create_directories(path + "/a/b..c");
  fs::rename(path + "/model.safetensors", path + "/a/b..c/model.safetensors");
  read_hf_weights(ctx_, path, back.weights());
  EXPECT_TRUE(
      testing::same_bits(ctx_, model.weights().flat(), back.weights().flat()));
}

TEST_F(HfFolder, WritesNothingOverWhatIsThere) {
  const HfConfig config = read_hf_config(kGolden);
  LanguageModel model(ctx_, config.model, DType::kF32);
  const std::string path = copy_of_golden("full");
  const auto write = [&](const std::string& to) {
    return error_of([&] {
      write_hf_folder(ctx_, to, config, model.weights(), HfDType::kF32);
    });
  };
  EXPECT_THAT(write(path), HasSubstr("is there already"));
  EXPECT_TRUE(read_text(path + "/model.safetensors") ==
              read_text(kGolden + "/model.safetensors"));
  EXPECT_EQ(testing::entries_beginning_with(path), 1);
  EXPECT_EQ(write(folder("new") + "/"), "no error");
  EXPECT_TRUE(is_hf_folder(folder("new")));
}

}  // namespace
}  // namespace timepipe
