#include "launcher/config/config_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "runtime/error.h"
#include "tests/support/temporary_file.h"
#include "tests/support/throws.h"

namespace timepipe {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Files = std::map<std::string, std::string>;

schema::RunConfig read(const Files& files) {
  return read_config("a/top", [&](const std::string& path) {
    const auto file = files.find(path);
    if (file == files.end()) throw IoError(path + ": can't be read");
    return file->second;
  });
}

template <class Error>
std::string mistake(const Files& files) {
  try {
    read(files);
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

TEST(ConfigFile, LiesOverItsBases) {
  const schema::RunConfig config =
      read({{"a/top",
             "base: '../b/middle' model { num_layers: 3 } "
             "data { train: 'x' }"},
            {"b/middle", "model { num_layers: 2 num_heads: 5 } base: 'root'"},
            {"b/root",
             "model { num_heads: 4 hidden_size: 64 } "
             "data { train: ['p', 'q'] train_weights: [1, 2] }"}});
  EXPECT_EQ(config.model().num_layers(), 3);
  EXPECT_EQ(config.model().num_heads(), 5);
  EXPECT_EQ(config.model().hidden_size(), 64);
  EXPECT_THAT(config.data().train(), ElementsAre("x"));
  EXPECT_THAT(config.data().train_weights(), ElementsAre(1, 2));
  EXPECT_FALSE(config.has_base());
}

TEST(ConfigFile, MistakesNameFileAndPlace) {
  EXPECT_THAT(mistake<InvalidArgument>(
                  {{"a/top", "base: 'b'"}, {"a/b", "model {\n layers: 1 }"}}),
              HasSubstr("a/b:2:"));
  EXPECT_EQ(mistake<IoError>({{"a/top", "\n base: 'b'"}}),
            "a/top:2:2: base: a/b: can't be read");
  EXPECT_EQ(mistake<InvalidArgument>({{"a/top", "base: ''"}}),
            "a/top:1:1: base: empty, expected a file");
}

TEST(ConfigFile, CyclesAndLongChainsAreRefused) {
  EXPECT_EQ(mistake<InvalidArgument>(
                {{"a/top", "base: 'b'"}, {"a/b", "base: '../a/./top'"}}),
            "a/b:1:1: base: bases form a cycle: a/top -> a/b -> a/top");
  Files files = {{"a/top", "base: '1'"}};
  for (int i = 1; i < 16; ++i) {
    files["a/" + std::to_string(i)] = "base: '" + std::to_string(i + 1) + "'";
  }
  files["a/16"] = "";
  EXPECT_THAT(mistake<InvalidArgument>(files), HasSubstr("more than 16 files"));
  files["a/15"] = "";
  EXPECT_EQ(mistake<InvalidArgument>(files), "accepted");
}

TEST(ConfigFile, ByteOrderMarksArePassedOver) {
  const schema::RunConfig config = read({{"a/top",
                                          "\xef\xbb\xbf"
                                          "base: 'b'"},
                                         {"a/b",
                                          "\xef\xbb\xbf"
                                          "model { num_layers: 3 }"}});
  EXPECT_EQ(config.model().num_layers(), 3);
}

TEST(ConfigFile, WhatIsNoTextIsNamed) {
  const testing::TemporaryFile pointer(
      "version https://git-lfs.github.com/spec/v1\n", ".textproto");
  EXPECT_THAT([&] { read_config_text(pointer.path()); },
              testing::throws<InvalidArgument>(
                  HasSubstr(": a pointer of Git LFS, not the file itself, "
                            "expected a text: git lfs pull")));
}

TEST(ConfigFile, LargeTextIsRefused) {
  EXPECT_THAT(
      mistake<InvalidArgument>({{"a/top", std::string((1 << 20) + 1, ' ')}}),
      HasSubstr("expected at most 1048576"));
}

}  // namespace
}  // namespace timepipe
