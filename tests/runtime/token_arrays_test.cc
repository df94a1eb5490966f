// Tokens in the files of numpy and safetensors.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/error.h"
#include "runtime/token_npy.h"
#include "runtime/token_safetensors.h"
#include "tests/support/throws.h"
#include "tests/support/token_files.h"

namespace timepipe {
namespace {

using testing::as_bytes;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::npy;
using testing::npy_dictionary;
using testing::read;
using testing::safetensors;
using testing::stored_bytes;
using testing::TemporaryFile;
using testing::tensors;
using testing::throws;

TEST(TokenFile, NpyOfEveryVersionAndType) {
  const TemporaryFile u2(
      npy(1, npy_dictionary("<u2", "(2,)"), stored_bytes<uint16_t>({3, 65535})),
      ".npy");
  EXPECT_THAT(read(TokenFile(u2.path()), 0, 2), ElementsAre(3, 65535));
  const TemporaryFile i8(npy(2, npy_dictionary("<i8", "(2,)"),
                             stored_bytes<int64_t>({3, int64_t{1} << 33})),
                         ".npy");
  EXPECT_THAT(read(TokenFile(i8.path()), 1, 1), ElementsAre(int64_t{1} << 33));
  const TemporaryFile u1(npy(3, npy_dictionary("|u1", "(3,)"), "abc"), ".npy");
  EXPECT_THAT(read(TokenFile(u1.path()), 0, 3), ElementsAre('a', 'b', 'c'));
}

// Two tokens of this type, as numpy and safetensors name it.
template <typename T>
void expect_read(const char* npy_name, const char* safetensors_name) {
  const std::string tokens = stored_bytes<T>({3, 100});
  const TemporaryFile array(npy(1, npy_dictionary(npy_name, "(1, 2)"), tokens)),
      tensor(safetensors(safetensors_name, tokens, 2, {0, 1}));
  for (const TemporaryFile* file : {&array, &tensor}) {
    EXPECT_THAT(read(TokenFile(file->path()), 0, 2), ElementsAre(3, 100))
        << npy_name;
  }
}

TEST(TokenFile, IntegersOfEveryWidthAreRead) {
  expect_read<uint8_t>("|u1", "U8");
  expect_read<int8_t>("|i1", "I8");
  expect_read<uint16_t>("<u2", "U16");
  expect_read<int16_t>("<i2", "I16");
  expect_read<uint32_t>("<u4", "U32");
  expect_read<int32_t>("<i4", "I32");
  expect_read<uint64_t>("<u8", "U64");
  expect_read<int64_t>("<i8", "I64");
}

TEST(TokenFile, SafetensorsOfOtherProgramsAreRead) {
  const std::string ids = stored_bytes<int64_t>({5, 6, 7}),
                    starts = stored_bytes<int32_t>({0, 2}), other = "zzz";
  for (const Shape& shape : {Shape{3}, Shape{1, 3}}) {
    const TemporaryFile file(
        tensors({{"input_ids", "I64", shape, as_bytes(ids)},
                 {"documents", "I32", {2}, as_bytes(starts)}}));
    const TokenFile tokens(file.path());
    EXPECT_THAT(read(tokens, 0, 3), ElementsAre(5, 6, 7));
    EXPECT_THAT(tokens.layout().documents, ElementsAre(0, 2));
  }
  const TemporaryFile both(tensors({{"input_ids", "U8", {3}, as_bytes(other)},
                                    {"tokens", "I64", {3}, as_bytes(ids)}}));
  EXPECT_THAT(read(TokenFile(both.path()), 0, 3), ElementsAre(5, 6, 7));
}

TEST(TokenFile, RefusesMalformedNpy) {
  const auto message = [](const std::string& bytes) -> std::string {
    try {
      parse_npy(as_bytes(bytes), "f.npy");
    } catch (const InvalidArgument& error) {
      return error.what();
    }
    return "accepted";
  };
  const std::string good = npy(1, npy_dictionary("<u2", "(1,)"), "ab");
  EXPECT_EQ(message(good), "accepted");
  for (std::size_t size = 0; size < good.size(); ++size) {
    EXPECT_NE(message(good.substr(0, size)), "accepted") << size;
  }
  EXPECT_THAT(message(npy(4, npy_dictionary("<u2", "(1,)"), "ab")),
              HasSubstr("version 4"));
  for (const char* descr : {">u2", "<f4", "|O", "|b1"}) {
    EXPECT_THAT(message(npy(1, npy_dictionary(descr, "(1,)"), "ab")),
                HasSubstr(descr));
  }
  for (const char* shape :
       {"(2, 1)", "()", "(,)", "(-1,)", "(2,)", "(9999999999999999999999,)"}) {
    EXPECT_THAT(message(npy(1, npy_dictionary("<u2", shape), "ab")),
                ::testing::StartsWith("f.npy: "))
        << shape;
  }
}

TEST(TokenFile, RefusesMalformedSafetensors) {
  const auto parse = [](const std::string& bytes) {
    return parse_token_safetensors(as_bytes(bytes), "f");
  };
  for (const std::vector<int64_t>& documents :
       {std::vector<int64_t>{1}, {0, 0}, {0, 3}, {0, 2, 1}, {-1}}) {
    EXPECT_THAT([&] { parse(safetensors("U8", "abc", 3, documents)); },
                throws<InvalidArgument>(HasSubstr("f: document ")));
  }
  EXPECT_THAT([&] { parse(safetensors("BOOL", "abc", 3, {0})); },
              throws<InvalidArgument>(
                  "f: tensor tokens: BOOL, expected U8, I8, U16, I16, U32, "
                  "I32, U64 or I64"));
  const std::vector<SafetensorsItem> none;
  EXPECT_THAT(
      [&] { parse(safetensors_header(none)); },
      throws<InvalidArgument>("f: no tensor named tokens or input_ids"));
  EXPECT_THAT(
      [&] {
        parse(tensors({{"wte", "U8", {2}, as_bytes("ab")},
                       {"wpe", "U8", {1}, as_bytes("c")}}));
      },
      throws<InvalidArgument>(
          "f: no tensor named tokens or input_ids, but wte, wpe"));
  EXPECT_THAT(
      [&] {
        parse(tensors({{"tokens", "U8", {2, 1}, as_bytes("ab")}}));
      },
      throws<InvalidArgument>(
          "f: tensor tokens: shape [2,1], expected one text, [T] or "
          "[1,T]"));
}

}  // namespace
}  // namespace timepipe
