#include "runtime/token_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "runtime/error.h"
#include "tests/support/temporary_file.h"

namespace timepipe {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::TemporaryFile;
using ::testing::ThrowsMessage;

std::vector<int64_t> read(const TokenReader& reader, int64_t first,
                          int64_t count) {
  std::vector<int64_t> ids(count, -1);
  reader.read(first, ids);
  return ids;
}

TEST(TokenReader, TokensAreTheBytesOfTheFile) {
  const TemporaryFile file(std::string("ab\0\xff\n", 5));
  const TokenReader reader(file.path());
  EXPECT_EQ(reader.num_tokens(), 5);
  EXPECT_THAT(read(reader, 0, 5), ElementsAre('a', 'b', 0, 255, '\n'));
  EXPECT_THAT(read(reader, 3, 1), ElementsAre(255));
  EXPECT_TRUE(read(reader, 5, 0).empty());
}

TEST(TokenReader, ReadsFilesOfManyPages) {
  std::string text;
  for (int i = 0; i < 100'000; ++i) text += static_cast<char>(i % 251);
  const TemporaryFile file(text);
  const TokenReader reader(file.path());
  EXPECT_THAT(read(reader, 99'998, 2), ElementsAre(99'998 % 251, 99'999 % 251));
}

TEST(TokenReader, CopyKeepsTheFileOpen) {
  const TemporaryFile file("abc");
  auto first = std::make_unique<TokenReader>(file.path());
  const TokenReader second = *first;
  first.reset();
  EXPECT_THAT(read(second, 1, 2), ElementsAre('b', 'c'));
}

TEST(TokenReader, RefusesRangesBeyondTheEnd) {
  const TemporaryFile file("abc");
  const TokenReader reader(file.path());
  EXPECT_THAT([&] { read(reader, 2, 2); },
              ThrowsMessage<InvalidArgument>(AllOf(HasSubstr(file.path()),
                                                   HasSubstr("[2, 2 + 2)"),
                                                   HasSubstr("[0, 3)"))));
  EXPECT_THROW(read(reader, -1, 1), InvalidArgument);
  EXPECT_THROW(read(reader, 4, 0), InvalidArgument);
  EXPECT_THROW(read(reader, INT64_MAX, 1), InvalidArgument);
}

TEST(TokenReader, NamesFilesThatItCannotRead) {
  const std::string missing = TemporaryFile::unused_path().string();
  EXPECT_THAT([&] { TokenReader reader(missing); },
              ThrowsMessage<IoError>(missing + ": No such file or directory"));
  const TemporaryFile empty("");
  EXPECT_THAT([&] { TokenReader reader(empty.path()); },
              ThrowsMessage<IoError>(empty.path() + ": empty"));
  EXPECT_THROW(TokenReader(std::filesystem::temp_directory_path().string()),
               IoError);
}

std::vector<int64_t> epoch(const WindowOrder& order, int64_t number) {
  std::vector<int64_t> first_tokens;
  for (int64_t i = 0; i < order.num_windows(); ++i) {
    first_tokens.push_back(order.first_token(number * order.num_windows() + i));
  }
  return first_tokens;
}

TEST(WindowOrder, CountsOnlyWindowsWithTheirLastLabel) {
  EXPECT_EQ(WindowOrder(9, 4, 1).num_windows(), 2);
  EXPECT_EQ(WindowOrder(8, 4, 1).num_windows(), 1);
  EXPECT_EQ(WindowOrder(5, 4, 1).num_windows(), 1);
  EXPECT_EQ(WindowOrder(2, 1, 1).num_windows(), 1);
}

TEST(WindowOrder, EveryEpochVisitsEachWindowOnceInANewOrder) {
  const WindowOrder order(4 * 50 + 1, 4, /*seed=*/7);
  std::set<std::vector<int64_t>> orders;
  for (int64_t number = 0; number < 3; ++number) {
    const std::vector<int64_t> visits = epoch(order, number);
    std::set<int64_t> expected;
    for (int64_t i = 0; i < 50; ++i) expected.insert(4 * i);
    EXPECT_EQ(std::set(visits.begin(), visits.end()), expected);
    orders.insert(visits);
  }
  EXPECT_EQ(orders.size(), 3u);
}

TEST(WindowOrder, IsAFunctionOfTheSeed) {
  const WindowOrder order(201, 4, 7);
  EXPECT_EQ(epoch(order, 1), epoch(WindowOrder(201, 4, 7), 1));
  EXPECT_NE(epoch(order, 1), epoch(WindowOrder(201, 4, 8), 1));
}

TEST(WindowOrder, RefusesFilesShorterThanAWindow) {
  EXPECT_THAT([] { WindowOrder(128, 128, 1); },
              ThrowsMessage<InvalidArgument>(
                  AllOf(HasSubstr("tokens: 128"), HasSubstr("of 128"))));
  EXPECT_THROW(WindowOrder(0, 1, 1), InvalidArgument);
  EXPECT_THROW(WindowOrder(10, 0, 1), InvalidArgument);
  EXPECT_THROW(WindowOrder(10, 2, 1).first_token(-1), InvalidArgument);
}

}  // namespace
}  // namespace timepipe
