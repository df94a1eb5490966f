#include "runtime/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/support/temporary_file.h"
#include "tests/support/tensors.h"
#include "tests/support/throws.h"

namespace timepipe {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::stored_bytes;
using testing::TemporaryFile;
using testing::throws;

std::string little_endian(uint64_t value) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(value >> 8 * i);
  return bytes;
}

std::string file_of(const std::string& header, const std::string& data) {
  return little_endian(header.size()) + header + data;
}

SafetensorsFile read(const std::string& bytes) {
  return SafetensorsFile::read(TemporaryFile(bytes).path());
}

// Throws InvalidArgument with the path and `text`.
void expect_refused(const std::string& bytes, const std::string& text) {
  const TemporaryFile file(bytes);
  EXPECT_THAT(
      [&] { SafetensorsFile::read(file.path()); },
      throws<InvalidArgument>(AllOf(HasSubstr(file.path()), HasSubstr(text))))
      << bytes;
}

// A file with one tensor w described so, and `data_bytes` bytes of data.
void expect_tensor_refused(const std::string& tensor, int64_t data_bytes,
                           const std::string& text) {
  expect_refused(
      file_of(R"({"w":)" + tensor + "}", std::string(data_bytes, '\0')), text);
}

TEST(Safetensors, ReadsEveryType) {
  // In data order c, a, b; b at an offset that is no multiple of its size.
  const SafetensorsFile file = read(file_of(
      R"({"__metadata__":{"format":"pt"},
          "a":{"dtype":"F32","shape":[1,3],"data_offsets":[16,28]},
          "b":{"dtype":"F64","shape":[],"data_offsets":[28,36]},
          "c":{"dtype":"I64","shape":[2],"data_offsets":[0,16]},
          "e":{"dtype":"F32","shape":[4,0],"data_offsets":[36,36]}})",
      stored_bytes<int64_t>({-7, 1LL << 40}) +
          stored_bytes<float>({1, -2.5, 3}) + stored_bytes<double>({0.1})));
  EXPECT_THAT(file.names(), ElementsAre("a", "b", "c", "e"));
  EXPECT_TRUE(file.contains("a"));
  EXPECT_FALSE(file.contains("__metadata__"));

  const HostArray a = file.get("a");
  EXPECT_EQ(a.shape(), (Shape{1, 3}));
  EXPECT_THAT(testing::to_f64(a), ElementsAre(1, -2.5, 3));
  EXPECT_EQ(file.get("b").shape(), Shape{});
  EXPECT_EQ(file.get("b").values<double>()[0], 0.1);
  EXPECT_EQ(file.get("c").values<int64_t>()[0], -7);
  EXPECT_EQ(file.get("c").values<int64_t>()[1], 1LL << 40);
  EXPECT_EQ(file.get("e").shape(), (Shape{4, 0}));
}

// Every bit pattern of 16 bits, so subnormals, infinities and NaNs too.
TEST(Safetensors, WidensHalfPrecisionExactly) {
  std::string patterns;
  for (int bits = 0; bits < 65536; ++bits) {
    patterns += static_cast<char>(bits & 255);
    patterns += static_cast<char>(bits >> 8);
  }
  const SafetensorsFile file = read(file_of(
      R"({"b":{"dtype":"BF16","shape":[65536],"data_offsets":[0,131072]},
          "h":{"dtype":"F16","shape":[65536],"data_offsets":[131072,262144]}})",
      patterns + patterns));
  const HostArray b = file.get("b"), h = file.get("h");
  for (int bits = 0; bits < 65536; ++bits) {
    EXPECT_EQ(std::bit_cast<uint32_t>(b.values<float>()[bits]),
              static_cast<uint32_t>(bits) << 16);
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    const double sign = bits >> 15 != 0 ? -1 : 1;
    const float value = h.values<float>()[bits];
    if (exponent == 31 && fraction != 0) {
      EXPECT_TRUE(std::isnan(value));
      continue;
    }
    double expected = std::ldexp(fraction, -24);
    if (exponent > 0) expected = std::ldexp(1024 + fraction, exponent - 25);
    if (exponent == 31) expected = std::numeric_limits<double>::infinity();
    EXPECT_EQ(value, sign * expected) << bits;
    EXPECT_EQ(std::signbit(value), bits >> 15 != 0);
  }
}

TEST(Safetensors, WhatIsWrittenIsRead) {
  const std::string path = TemporaryFile::unused_path().string();
  const float a[] = {1, -2.5, 3};
  const uint16_t b[] = {7, 65535};
  const SafetensorsItem items[] = {
      {"a \"quoted\"", "F32", {1, 3}, std::as_bytes(std::span(a))},
      {"none", "F64", {0, 4}, {}},
      {"b", "U16", {2}, std::as_bytes(std::span(b))}};
  write_safetensors(path, items, {{"format", "pt"}});
  const SafetensorsFile file = SafetensorsFile::read(path);
  std::filesystem::remove(path);
  EXPECT_EQ(testing::entries_beginning_with(path), 0);
  EXPECT_EQ(file.metadata().at("format"), "pt");
  EXPECT_THAT(testing::to_f64(file.get("a \"quoted\"")),
              ElementsAre(1, -2.5, 3));
  EXPECT_EQ(file.entry("none").shape, (Shape{0, 4}));
  EXPECT_EQ(file.entry("b").dtype, "U16");
  EXPECT_TRUE(std::ranges::equal(file.bytes("b"), items[2].bytes));
  EXPECT_THAT([&] { file.get("b"); },
              throws<InvalidArgument>(HasSubstr("tensor b: dtype U16")));
}

TEST(Safetensors, TensorsOutliveTheFile) {
  const HostArray w =
      read(file_of(R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
                   stored_bytes<float>({4.5})))
          .get("w");
  EXPECT_THAT(testing::to_f64(w), ElementsAre(4.5));
}

TEST(Safetensors, FileWithoutTensors) {
  EXPECT_TRUE(read(file_of("{}", "")).names().empty());
}

// What the official library reads, though hardly anybody writes it.
TEST(Safetensors, ReadsNullMetadataPaddingAndUnknownFields) {
  const SafetensorsFile file = read(file_of(
      R"(  {"__metadata__":null,
          "w":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"extra":[{}]}}
        )",
      stored_bytes<float>({4.5})));
  EXPECT_TRUE(file.metadata().empty());
  EXPECT_THAT(testing::to_f64(file.get("w")), ElementsAre(4.5));
}

TEST(Safetensors, KnowsTheSizeOfTypesThatAreNotComputedWith) {
  const SafetensorsFile file = read(file_of(
      R"({"a":{"dtype":"F8_E4M3","shape":[3],"data_offsets":[0,3]},
          "b":{"dtype":"F8_E8M0","shape":[1],"data_offsets":[3,4]},
          "c":{"dtype":"F6_E2M3","shape":[4],"data_offsets":[4,7]},
          "d":{"dtype":"F4","shape":[2,3],"data_offsets":[7,10]},
          "e":{"dtype":"C64","shape":[1],"data_offsets":[10,18]}})",
      std::string(18, '\0')));
  EXPECT_EQ(file.bytes("d").size(), 3U);
  EXPECT_THAT([&] { file.get("a"); },
              throws<InvalidArgument>(HasSubstr("tensor a: dtype F8_E4M3")));
  expect_tensor_refused(R"({"dtype":"F4","shape":[3],"data_offsets":[0,2]})", 2,
                        "shape [3]: 12 bits, expected whole bytes");
}

TEST(Safetensors, NamesTheMissingTensor) {
  const TemporaryFile file(file_of("{}   ", ""));
  EXPECT_THAT([&] { SafetensorsFile::read(file.path()).get("w"); },
              throws<InvalidArgument>(file.path() + ": no tensor named w"));
}

TEST(Safetensors, NamesWhatTheFileIsInstead) {
  const std::vector<std::pair<std::string, std::string>> others = {
      {"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"},
      {"<!DOCTYPE html><html>", "an HTML page (begins with '<!DOCTYPE"},
      {"{\"error\": \"gone\"}", "no safetensors file (begins with '{"},
      {std::string("PK\x03\x04\0\0", 6), "a zip archive"},
      {"\x80\x02}q", "a pickle"}};
  for (const auto& [bytes, what] : others) {
    const TemporaryFile file(bytes, ".safetensors");
    EXPECT_THAT([&] { SafetensorsFile::read(file.path()); },
                throws<InvalidArgument>(::testing::AllOf(
                    ::testing::StartsWith(file.path() + ": " + what),
                    HasSubstr(", expected a safetensors file"))));
  }
}

TEST(Safetensors, UnreadableFileIsAnIoError) {
  const std::string missing = TemporaryFile::unused_path().string();
  EXPECT_THAT([&] { SafetensorsFile::read(missing); },
              throws<IoError>(HasSubstr(missing)));
  EXPECT_THROW(
      SafetensorsFile::read(std::filesystem::temp_directory_path().string()),
      IoError);
}

TEST(Safetensors, RefusesBadHeaders) {
  expect_refused("", "0 bytes, too short");
  expect_refused(std::string("12345\0\1", 7), "7 bytes, too short");
  expect_refused(little_endian(3) + "{}", "header of 3 bytes, but only 2");
  expect_refused(little_endian(uint64_t{1} << 62) + "{}",
                 "header of 4611686018427387904 bytes");
  expect_refused(file_of("", ""), "header: ");
  expect_refused(file_of("{\"w\":", ""), "header: ");
  expect_refused(file_of("{\"\xff\":1}", ""), "header: ");
  expect_refused(file_of("{\"w\":1e999}", ""), "header: ");
  expect_refused(file_of("[]", ""), "header is not a JSON object");
  expect_refused(file_of(std::string(100'000, '['), ""), "header: ");
}

TEST(Safetensors, RefusesBadEntries) {
  expect_tensor_refused("1", 0, "tensor w: not a JSON object");
  expect_tensor_refused(R"({"shape":[1],"data_offsets":[0,4]})", 4,
                        "tensor w: no dtype");
  expect_tensor_refused(R"({"dtype":"F32","data_offsets":[0,4]})", 4,
                        "tensor w: no shape");
  expect_tensor_refused(R"({"dtype":"F32","shape":[1]})", 4,
                        "tensor w: no data_offsets");
  expect_tensor_refused(R"({"dtype":"F8","shape":[4],"data_offsets":[0,4]})", 4,
                        "tensor w: dtype \"F8\", expected F32, BF16");
  expect_tensor_refused(R"({"dtype":7,"shape":[2],"data_offsets":[0,4]})", 4,
                        "tensor w: dtype 7");
}

TEST(Safetensors, RefusesBadShapes) {
  const auto refused = [](const std::string& shape, const std::string& text) {
    expect_tensor_refused(
        R"({"dtype":"F32","data_offsets":[0,4],"shape":)" + shape + "}", 4,
        text);
  };
  refused("[-1]", "shape [-1], expected an array of integers from 0");
  refused("[1.0]", "shape [1.0], expected");
  refused("[\"1\"]", "expected an array");
  refused("4", "shape 4, expected an array");
  refused(std::string(100'000, '[') + std::string(100'000, ']'),
          "shape array, expected an array of integers");
  refused("[18446744073709551615]", "expected an array of integers from 0");
  refused("[2]", "data_offsets [0,4], expected 8 bytes for shape [2] of F32");
  refused("[0]", "expected 0 bytes");
  // 2^31 * 2^31 * 2 * 4 bytes = 2^65.
  refused("[2147483648,2147483648,2]", "too large");
  // The product is 0, but not its partial products.
  refused("[4294967296,4294967296,0]", "too large");
}

TEST(Safetensors, RefusesBadOffsets) {
  const auto refused = [](const std::string& offsets, const std::string& text) {
    expect_tensor_refused(
        R"({"dtype":"F32","shape":[1],"data_offsets":)" + offsets + "}", 4,
        text);
  };
  refused("[0]", "data_offsets [0], expected two");
  refused("[0,4,8]", "expected two");
  refused("[4,0]", "data_offsets [4,0] go beyond the data of 4 bytes");
  refused("[1,5]", "data_offsets [1,5] go beyond the data of 4 bytes");
  refused("[-4,0]", "expected an array of integers from 0");
  refused("[0,9223372036854775807]", "go beyond the data");
  refused("[0,3]", "data_offsets [0,3], expected 4 bytes");
  refused("{}", "expected an array");
}

TEST(Safetensors, RefusesHolesAndOverlaps) {
  const auto header = [](const std::string& offsets) {
    return R"({"v":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},
               "w":{"dtype":"F32","shape":[1],"data_offsets":)" +
           offsets + "}}";
  };
  const std::string data(12, '\0');
  EXPECT_NO_THROW(read(file_of(header("[8,12]"), data)));
  expect_refused(file_of(header("[4,8]"), data),
                 "tensor w starts at byte 4 of the data, expected 8");
  expect_refused(file_of(header("[8,12]"), data + "1234"),
                 "tensors end at byte 12 of the data, expected 16");
  expect_refused(file_of(header("[12,16]"), data + "1234"),
                 "tensor w starts at byte 12 of the data, expected 8");
  // A repeated name hides a tensor, so its data is a hole.
  expect_refused(
      file_of(R"({"v":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},
                  "v":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
              std::string(8, '\0')),
      "tensor v starts at byte 4");
}

}  // namespace
}  // namespace timepipe
