// Weights as others write them: redundant tensors, other types, numbers that
// aren't finite.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "launcher/huggingface/hf_folder.h"
#include "models/language_model.h"
#include "runtime/bf16.h"
#include "runtime/error.h"
#include "runtime/files.h"
#include "runtime/safetensors.h"
#include "tests/support/temporary_file.h"
#include "tests/support/tensors.h"
#include "tests/support/test_device.h"
#include "tests/support/throws.h"

namespace timepipe {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using testing::TestContext;
using testing::throws;

const std::string kGolden = TIMEPIPE_GOLDENS "/hf_linear_tied_f32";
const std::string kEmbedding = "model.embed_tokens.weight";
const std::string kBlock = "model.layers.0.seq_modeling_block.";

struct Stored {
  std::string dtype;
  Shape shape;
  std::string bytes;
};

template <class T>
Stored stored(const char* dtype, const Shape& shape,
              const std::vector<T>& values) {
  return {dtype, shape, testing::stored_bytes(values)};
}

using Tensors = std::map<std::string, Stored>;

Tensors golden_tensors() {
  Tensors tensors;
  const auto file = SafetensorsFile::read(kGolden + "/model.safetensors");
  for (const std::string& name : file.names()) {
    const auto bytes = file.bytes(name);
    tensors[name] = {
        file.entry(name).dtype, file.entry(name).shape,
        std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size())};
  }
  return tensors;
}

class HfWeights : public ::testing::Test {
 protected:
  HfWeights()
      : path_(testing::TemporaryFile::unused_path()),
        model_(ctx_, read_hf_config(kGolden).model, DType::kF32) {
    fs::create_directories(path_);
    write_file(at("config.json"), read_text(kGolden + "/config.json"));
  }
  ~HfWeights() override {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  std::string at(const std::string& name) const { return path_ / name; }

  void write(const std::string& name, const Tensors& tensors) const {
    std::vector<SafetensorsItem> items;
    for (const auto& [tensor, value] : tensors) {
      items.push_back({tensor, value.dtype, value.shape,
                       std::as_bytes(std::span(value.bytes))});
    }
    write_safetensors(at(name), items);
  }
  void write_index(const std::map<std::string, std::string>& map) const {
    write_file(at("model.safetensors.index.json"),
               nlohmann::json{{"weight_map", map}}.dump());
  }
  // "" if the golden's bits were read; else the error.
  std::string read() {
    said_.clear();
    try {
      read_hf_weights(ctx_, path_, model_.weights(),
                      [&](const std::string& line) { said_ += line; });
    } catch (const std::exception& error) {
      return error.what();
    }
    LanguageModel golden(ctx_, read_hf_config(kGolden).model, DType::kF32);
    read_hf_weights(ctx_, kGolden, golden.weights());
    return testing::same_bits(ctx_, model_.weights().flat(),
                              golden.weights().flat())
               ? ""
               : "other weights";
  }
  std::string read(const Tensors& tensors) {
    write("model.safetensors", tensors);
    return read();
  }

  fs::path path_;
  TestContext ctx_;
  LanguageModel model_;
  std::string said_;
};

TEST_F(HfWeights, WholeFileBesideAnIndexIsReadAndSaid) {
  Tensors old = golden_tensors();
  for (auto& [name, tensor] : old) tensor.bytes.assign(tensor.bytes.size(), 0);
  write("model-00001-of-00001.safetensors", old);
  std::map<std::string, std::string> map;
  for (const auto& [name, _] : old) {
    map[name] = "model-00001-of-00001.safetensors";
  }
  write_index(map);
  EXPECT_EQ(read(), "other weights");
  EXPECT_EQ(said_, "");
  EXPECT_EQ(read(golden_tensors()), "");
  EXPECT_EQ(said_, at("model.safetensors") + " is read, " +
                       at("model.safetensors.index.json") + " beside it isn't");
  fs::remove(at("model-00001-of-00001.safetensors"));
  EXPECT_EQ(read(), "");
  fs::remove(at("model.safetensors"));
  EXPECT_THAT(read(), StartsWith(at("model.safetensors.index.json") + ": "));
  EXPECT_THAT(read(), HasSubstr("model-00001-of-00001.safetensors, which isn't "
                                "there"));
}

TEST_F(HfWeights, TiedEmbeddingsMayBeThereTwiceWithTheSameBits) {
  Tensors tensors = golden_tensors();
  tensors["lm_head.weight"] = tensors.at(kEmbedding);
  EXPECT_EQ(read(tensors), "");
  tensors["lm_head.weight"].bytes[5] ^= 1;
  EXPECT_THAT(read(tensors),
              HasSubstr("lm_head.weight: not the bits of " + kEmbedding));
  tensors["lm_head.weight"] = tensors.at(kEmbedding);
  tensors["lm_head.weight"].shape = {48, 64};
  EXPECT_THAT(read(tensors), HasSubstr("lm_head.weight: not the bits"));
  tensors["lm_head.weight"] = tensors.at(kEmbedding);
  tensors.erase(kEmbedding);
  EXPECT_EQ(read(tensors), "");
}

TEST_F(HfWeights, TensorInTwoShardsMustHaveTheSameBits) {
  const Tensors all = golden_tensors();
  Tensors some = {{kEmbedding, all.at(kEmbedding)}};
  std::map<std::string, std::string> map;
  for (const auto& [name, _] : all) map[name] = "a.safetensors";
  map[kEmbedding] = "b.safetensors";
  write_index(map);
  write("a.safetensors", all);
  write("b.safetensors", some);
  EXPECT_EQ(read(), "");
  some.at(kEmbedding).bytes[0] ^= 1;
  write("b.safetensors", some);
  EXPECT_THAT(read(), HasSubstr("tensor " + kEmbedding + ": "));
}

TEST_F(HfWeights, BuffersThatFollowFromTheConfigurationSayNothingNew) {
  std::vector<float> places, wavelengths;
  for (int i = 1; i <= 16; ++i) places.push_back(1.0F / static_cast<float>(i));
  for (int i = 0; i < 8; ++i) {
    wavelengths.push_back(static_cast<float>(std::pow(10000.0, -i / 8.0)));
  }
  Tensors tensors = golden_tensors();
  tensors[kBlock + "token_idx"] = stored("F32", {16}, places);
  tensors[kBlock + "rotary_emb.inv_freq"] = stored("F32", {8}, wavelengths);
  EXPECT_EQ(read(tensors), "");
  std::vector<uint16_t> halves;
  for (const float v : wavelengths) halves.push_back(round_to_bf16(v));
  tensors[kBlock + "rotary_emb.inv_freq"] = stored("BF16", {8}, halves);
  EXPECT_EQ(read(tensors), "");
  wavelengths[3] *= 1.001F;
  tensors[kBlock + "rotary_emb.inv_freq"] = stored("F32", {8}, wavelengths);
  EXPECT_THAT(read(tensors), HasSubstr(kBlock + "rotary_emb.inv_freq: not"));
  tensors.erase(kBlock + "rotary_emb.inv_freq");
  tensors["model.layers.7.seq_modeling_block.token_idx"] =
      tensors.at(kBlock + "token_idx");
  EXPECT_THAT(read(tensors), HasSubstr("unexpected model.layers.7."));
}

TEST_F(HfWeights, ConvertsF64AndNamesTypesThatAreNoWeights) {
  Tensors tensors = golden_tensors();
  for (auto& [name, tensor] : tensors) {
    std::vector<double> wide(tensor.bytes.size() / 4);
    for (std::size_t i = 0; i < wide.size(); ++i) {
      float v = 0;
      std::memcpy(&v, tensor.bytes.data() + 4 * i, 4);
      wide[i] = v;
    }
    tensor = stored("F64", tensor.shape, wide);
  }
  EXPECT_EQ(read(tensors), "");
  for (const char* dtype : {"F8_E4M3", "F8_E5M2", "I8"}) {
    tensors = golden_tensors();
    tensors["model.norm.weight"] = {dtype, {48}, std::string(48, '\0')};
    EXPECT_THAT(read(tensors),
                HasSubstr("model.norm.weight: dtype " + std::string(dtype) +
                          ", expected F32"));
  }
}

TEST_F(HfWeights, NamesTheTensorAndPlaceThatIsNotFinite) {
  Tensors tensors = golden_tensors();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::memcpy(tensors.at(kEmbedding).bytes.data() + 4 * (2 * 48 + 5), &nan, 4);
  EXPECT_EQ(read(tensors),
            path_.string() + ": " + kEmbedding +
                ": 1 of 3072 numbers aren't finite, the first at [2,5]: nan");
  tensors = golden_tensors();
  std::vector<double> large(48, 1);
  large[7] = 1e300;
  tensors["model.norm.weight"] = stored("F64", {48}, large);
  EXPECT_EQ(read(tensors), path_.string() +
                               ": model.norm.weight: 1 of 48 numbers aren't "
                               "finite as f32, the first at [7]: 1e+300");
}

TEST_F(HfWeights, ListsNoMoreThanALineHolds) {
  EXPECT_THAT(read(Tensors()), HasSubstr("; and "));
}

TEST_F(HfWeights, NumbersBeyondBf16AreNotExported) {
  const HfConfig config = read_hf_config(kGolden);
  read_hf_weights(ctx_, kGolden, model_.weights());
  testing::fill(ctx_, std::numeric_limits<float>::max(),
                model_.weights().value("model.norm.weight").slice(4, 5));
  EXPECT_THAT(
      [&] {
        write_hf_folder(ctx_, at("out"), config, model_.weights(),
                        HfDType::kBF16);
      },
      throws<InvalidArgument>(HasSubstr("model.norm.weight: element 4: ")));
  EXPECT_FALSE(fs::exists(at("out")));
  write_hf_folder(ctx_, at("out"), config, model_.weights(), HfDType::kF32);
}

}  // namespace
}  // namespace timepipe
