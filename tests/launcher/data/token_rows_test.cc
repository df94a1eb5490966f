#include "launcher/data/token_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "runtime/error.h"
#include "tests/support/throws.h"
#include "tests/support/token_files.h"

namespace timepipe {
namespace {

using testing::as_bytes;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::npy;
using testing::npy_dictionary;
using testing::stored_bytes;
using testing::TemporaryFile;
using testing::throws;

TEST(TokenRows, ReadsNpyOfOneAndTwoDimensions) {
  const TemporaryFile one(npy(1, npy_dictionary("|u1", "(6,)"), "\1\2\3\4\5\6"),
                          ".npy");
  const TemporaryFile two(
      npy(1, npy_dictionary("|u1", "(2, 3)"), "\1\2\3\4\5\6"), ".npy");
  const TokenRows flat = read_token_rows(one.path(), "", 10);
  EXPECT_EQ(flat.shape, (Shape{6}));
  EXPECT_EQ(flat.rows(), 1);
  const TokenRows rows = read_token_rows(two.path(), "", 10);
  EXPECT_EQ(rows.shape, (Shape{2, 3}));
  EXPECT_THAT(rows.row(1), ElementsAre(4, 5, 6));
  EXPECT_THAT([&] { read_token_rows(two.path(), "", 6); },
              throws<InvalidArgument>(
                  HasSubstr("token 2 of row 1: id 6, expected one in [0, 6)")));
}

TEST(TokenRows, ReadsTheTensorThatIsAskedFor) {
  const TemporaryFile file("");
  const std::string a = stored_bytes<int64_t>({1, 2, 3, 4}),
                    b = stored_bytes<int32_t>({5, 6});
  const std::vector<SafetensorsItem> items = {
      {"input_ids", "I64", {2, 2}, as_bytes(a)},
      {"labels", "I32", {2}, as_bytes(b)}};
  write_safetensors(file.path(), items);
  EXPECT_THAT(read_token_rows(file.path(), "", 10).row(1), ElementsAre(3, 4));
  EXPECT_THAT(read_token_rows(file.path(), "labels", 10).ids,
              ElementsAre(5, 6));
  EXPECT_THAT([&] { read_token_rows(file.path(), "ids", 10); },
              throws<InvalidArgument>(
                  HasSubstr(": no tensor named ids, but input_ids, labels")));
}

TEST(TokenRows, RefusesMalformedNpy) {
  for (const char* shape :
       {"(2, 2)", "(7, 1)", "(1, 2, 3)", "(2, -3)", "(6)", "(,)",
        "(999999999999999999, 999999999999999999)"}) {
    const TemporaryFile file(
        npy(1, npy_dictionary("|u1", shape), "\1\2\3\4\5\6"), ".npy");
    EXPECT_THROW(read_token_rows(file.path(), "", 10), InvalidArgument)
        << shape;
  }
  const TemporaryFile file(
      npy(1, npy_dictionary("|u1", "(2, 3)", "True"), "\1\2\3\4\5\6"), ".npy");
  EXPECT_THROW(read_token_rows(file.path(), "", 10), InvalidArgument);
}

}  // namespace
}  // namespace timepipe
