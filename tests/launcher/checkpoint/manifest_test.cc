#include "launcher/checkpoint/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "runtime/error.h"
#include "tests/support/throws.h"

namespace timepipe {
namespace {

using ::testing::HasSubstr;
using testing::throws;

// Two parameters; the first one's pieces lie in two shards.
Manifest example() {
  Manifest manifest;
  manifest.steps = 7;
  manifest.skipped_steps = 2;
  manifest.updates = 4;  // and a step without a label
  manifest.digest = 0xfedcba9876543210;
  manifest.held_out_loss = 1.0 / 3;
  manifest.configuration = "device: \"cpu\"\n";
  manifest.parameters = {{"a", {4, 5}, 0, 20}, {"b", {3}, 32, 3}};
  manifest.shards = {{"shard-00000-of-00002.safetensors", 100},
                     {"shard-00001-of-00002.safetensors", 90}};
  for (const std::string& kind : Manifest::kinds()) {
    manifest.pieces.push_back({kind, "a", 0, 16, 0, 1});
    manifest.pieces.push_back({kind, "a", 16, 4, 1, 2});
    manifest.pieces.push_back({kind, "b", 0, 3, 1, 0xffffffffffffffff});
  }
  manifest.carried = {{3, 0, "state", 7, 12, 1, 5},
                      {3, 1, "halo_x", 7, 6, 0, 6}};
  manifest.data = {{"a\xff.txt", 0x12}, {"b.bin", 9}};
  return manifest;
}

// The example with one value replaced.
std::string with(const char* place, const nlohmann::json& value) {
  auto object = nlohmann::json::parse(to_json(example()));
  object[nlohmann::json::json_pointer(place)] = value;
  return object.dump();
}

void expect_refused(const std::string& text, const std::string& message) {
  EXPECT_THAT([&] { parse_manifest(text, "M"); },
              throws<InvalidArgument>(HasSubstr(message)))
      << text;
}

TEST(Manifest, ReadsWhatItWrote) {
  const Manifest read = parse_manifest(to_json(example()), "M");
  EXPECT_EQ(read.steps, 7);
  EXPECT_EQ(read.updates, 4);
  EXPECT_EQ(read.digest, 0xfedcba9876543210);
  EXPECT_EQ(read.held_out_loss, 1.0 / 3);
  EXPECT_EQ(read.pieces[2].xxh64, 0xffffffffffffffff);
  EXPECT_EQ(read.pieces[4].tensor(), "adam_m.a@16");
  EXPECT_EQ(read.parameters[1].offset, 32);  // as in the flat buffer
  EXPECT_EQ(read.carried[1].tensor(), "carried.3.1.halo_x");
  EXPECT_EQ(read.data[1].hash, 9u);
  EXPECT_EQ(to_json(read), to_json(example()));
}

TEST(Manifest, OfEarlierVersionsCarriesNothing) {
  auto object = nlohmann::json::parse(to_json(example()));
  object.erase("carried");
  object.erase("data");
  object.erase("updates");
  const Manifest read = parse_manifest(object.dump(), "M");
  EXPECT_EQ(read.updates, 7 - 2);
  EXPECT_TRUE(read.carried.empty() && read.data.empty());
}

TEST(Manifest, OfEarlierVersionsKnowsDataByTheirBytes) {
  auto object = nlohmann::json::parse(to_json(example()));
  object["data"] = {{{"path", "a"}, {"hash", "00000000000000ff"}}};
  const Manifest read = parse_manifest(object.dump(), "M");
  EXPECT_TRUE(read.data[0].of_bytes);
  EXPECT_EQ(read.data[0].hash, 0xffu);
  EXPECT_TRUE(parse_manifest(to_json(read), "M").data[0].of_bytes);
  EXPECT_FALSE(parse_manifest(to_json(example()), "M").data[0].of_bytes);
  object["data"][0]["hash"] = 3;
  expect_refused(object.dump(), "data 0: hash: 3");
}

TEST(Manifest, RefusesImpossibleCarriedStates) {
  expect_refused(with("/carried/0/sequence", -1), "carried 0: sequence: -1");
  expect_refused(with("/carried/0/sequence", 1 << 30), "carried 0: sequence");
  expect_refused(with("/carried/0/layer", 1 << 20), "carried 0: layer");
  expect_refused(with("/carried/0/border", "../state"), "carried 0: border");
  expect_refused(with("/carried/0/steps", 8), "carried 0: steps: 8");
  expect_refused(with("/carried/0/steps", 6), "steps: 7, expected 6");
  expect_refused(with("/carried/0/count", 0), "carried 0: count: 0");
  expect_refused(with("/carried/0/count", 1e300), "carried 0: count");
  expect_refused(with("/carried/0/shard", 2), "carried 0: shard: 2");
  expect_refused(with("/carried/0/xxh64", "x"), "carried 0: xxh64");
  auto object = nlohmann::json::parse(to_json(example()));
  object["carried"][1] = object["carried"][0];
  expect_refused(object.dump(), "carried.3.0.state: expected once");
  expect_refused(with("/carried", 3), "M: carried: 3, expected an array");
  expect_refused(with("/data/0/tokens", 3), "data 0: tokens: 3");
  expect_refused(with("/data/0/path", std::string(5000, 'x')), "data 0: path");
}

// Of a run that started with the moments of another one.
TEST(Manifest, UpdatesMayBeMoreThanSteps) {
  EXPECT_EQ(parse_manifest(with("/updates", 100), "M").updates, 100);
}

TEST(Manifest, RefusesNumbersOutOfRange) {
  expect_refused(with("/format", 2), "M: format: 2, expected 1 to 1");
  expect_refused(with("/steps", -1), "M: steps: -1");
  expect_refused(with("/steps", 1.5), "M: steps: 1.5");
  expect_refused(with("/steps", 18446744073709551615U), "M: steps: ");
  expect_refused(with("/skipped_steps", 8), "M: skipped_steps: 8");
  expect_refused(with("/updates", -1), "M: updates: -1, expected 0 to");
  expect_refused(with("/digest", "12"), "16 hexadecimal");
  expect_refused(with("/held_out_loss", "low"), "held_out_loss: ");
  expect_refused(with("/digest", "-edcba9876543210"), "16 hexadecimal");
  expect_refused(with("/dtype", "i64"), "M: dtype: i64");
  expect_refused(with("/parameters/0/shape/0", 1e300), "parameter 0: shape");
  expect_refused(with("/parameters/0/shape/0", 0), "parameter 0: shape");
  expect_refused(with("/parameters/0/shape", {1 << 30, 1 << 30}), "shape");
  expect_refused(with("/pieces/0/shard", 2), "piece 0: shard: 2");
  expect_refused(with("/pieces/0/count", 0), "piece 0: count: 0");
  expect_refused(with("/pieces", 3), "M: pieces: 3, expected an array");
}

TEST(Manifest, RefusesPathsOutsideTheFolder) {
  for (const char* file : {"", ".", "..", "../x.safetensors",
                           "/etc/x.safetensors", "a/b.safetensors", "passwd"}) {
    expect_refused(with("/shards/0/file", file), "shard 0: file: ");
  }
  expect_refused(with("/shards/0/file", std::string("a\0.safetensors", 14)),
                 "shard 0: file: ");
}

TEST(Manifest, RefusesGapsAndOverlaps) {
  expect_refused(with("/pieces/1/first", 15),
                 "pieces of weights of a: whole up to element 16 of 20");
  expect_refused(with("/pieces/1/count", 3),
                 "pieces of weights of a: whole up to element 19 of 20");
  expect_refused(with("/pieces/1/count", 5),
                 "pieces of weights of a: whole up to element 16 of 20");
  expect_refused(with("/pieces/8/kind", "weights"), "of b: whole up to");
  expect_refused(with("/pieces/8/kind", "momentum"), "of adam_v of b: ");
  expect_refused(with("/pieces", nlohmann::json::array()), "weights of a");
  expect_refused(with("/parameters/1/name", "c"), "weights of c");
}

TEST(Manifest, RefusesEveryTruncation) {
  const std::string text = to_json(example());
  for (std::size_t size = 0; size + 2 < text.size(); ++size) {
    EXPECT_THROW(parse_manifest(text.substr(0, size), "M"), InvalidArgument);
  }
  expect_refused("[]", "M: not a JSON object");
}

TEST(Manifest, RefusesDeepNesting) {
  const std::string deep =
      std::string(100'000, '[') + std::string(100'000, ']');
  EXPECT_THAT([&] { parse_manifest("{\"format\":" + deep + "}", "M"); },
              throws<InvalidArgument>(HasSubstr("M: format: array")));
}

TEST(Manifest, NamesTheFirstDifferenceOfModels) {
  const auto parameters = example().parameters;
  auto other = parameters;
  other[1].shape = {4};
  EXPECT_NO_THROW(require_same_parameters("M", parameters, parameters));
  EXPECT_THAT([&] { require_same_parameters("M", other, parameters); },
              throws<InvalidArgument>(
                  HasSubstr("parameter 1 is b [4], expected b [3]")));
  other.pop_back();
  EXPECT_THAT([&] { require_same_parameters("M", other, parameters); },
              throws<InvalidArgument>(
                  HasSubstr("parameter 1 is nothing, expected b [3]")));
}

}  // namespace
}  // namespace timepipe
