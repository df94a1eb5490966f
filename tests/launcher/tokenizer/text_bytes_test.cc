#include "launcher/tokenizer/text_bytes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/error.h"
#include "tests/launcher/commands/tiny_model.h"
#include "tests/support/throws.h"

namespace timepipe {
namespace {

using ::testing::HasSubstr;
using testing::kBytePairs;
using testing::kUnigram;
using testing::throws;
using testing::TinyModel;

constexpr int64_t kUnknown = 0, kStart = 1, kEnd = 2;  // of spm_train's models

int64_t bytes_of(Tokenizer& tokenizer, const std::string& text) {
  TextBytes bytes(tokenizer);
  int64_t before = kStart, sum = 0;
  for (const int64_t id : tokenizer.encode(text, "")) {
    sum += bytes.of(before, id, false).value();
    before = id;
  }
  return sum;
}

TEST(TextBytes, SumIsThatOfTheTextWithoutTheSpaceBeforeIt) {
  const std::string ascii = "The river, the wheel";
  const std::string more = " \xf0\x9f\x98\x80\xe4\xb8\xad ";
  const TinyModel pairs(kBytePairs), unigram(kUnigram);
  const auto reads_all = make_tokenizer(pairs.path());
  for (const std::string& text : {ascii, ascii + more + ascii, more + ascii}) {
    EXPECT_EQ(bytes_of(*reads_all, text), std::ssize(text)) << text;
    EXPECT_EQ(bytes_of(*make_tokenizer("bytes"), text), std::ssize(text));
  }
  EXPECT_EQ(bytes_of(*make_tokenizer(unigram.path()), ascii),
            std::ssize(ascii));
}

TEST(TextBytes, SpaceCountsInsideATextOnly) {
  const TinyModel model(kBytePairs);
  const auto tokenizer = make_tokenizer(model.path());
  const std::vector<int64_t> ids = tokenizer->encode("The river", "");
  TextBytes bytes(*tokenizer);
  const int64_t first = bytes.of(kStart, ids[0], false).value();
  EXPECT_EQ(bytes.of(kEnd, ids[0], false), first);
  EXPECT_EQ(bytes.of(ids[1], ids[0], true), first);
  EXPECT_EQ(bytes.of(ids[1], ids[0], false), first + 1);
  EXPECT_EQ(bytes.of(kUnknown, ids[0], false), first + 1);
}

TEST(TextBytes, MarksHaveNoneAndUnknownIdsAnyNumber) {
  const TinyModel model(kUnigram);
  const auto tokenizer = make_tokenizer(model.path());
  const std::vector<int64_t> ids = tokenizer->encode("The river", "");
  TextBytes bytes(*tokenizer);
  for (const bool starts : {false, true}) {
    EXPECT_EQ(bytes.of(ids[0], kStart, starts), 0);
    EXPECT_EQ(bytes.of(ids[0], kEnd, starts), 0);
    EXPECT_EQ(bytes.of(ids[0], kUnknown, starts), std::nullopt);
  }
  EXPECT_THAT(
      [&] { bytes.of(ids[0], tokenizer->vocab_size(), false); },
      throws<InvalidArgument>(HasSubstr(
          "id " + std::to_string(tokenizer->vocab_size()) + ", expected one")));
}

}  // namespace
}  // namespace timepipe
