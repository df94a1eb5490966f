#include "launcher/data/ngram_model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "runtime/error.h"

namespace timepipe {
namespace {

std::vector<uint8_t> bytes(const std::string& text) {
  return {text.begin(), text.end()};
}

double sum_over_next(const NgramModel& model, const std::string& context) {
  double sum = 0;
  for (int next = 0; next < 256; ++next) {
    sum += model.probability(bytes(context), static_cast<uint8_t>(next));
  }
  return sum;
}

// Order 1: a 3 times, b and c once. n_1 = 2, n_2 = 0, n_3 = 1, so Y = 1 and no
// discount is in range: all are 1/2. N1 = 2, N3 = 1.
TEST(NgramModel, UnigramByHand) {
  const NgramModel model(bytes("abaca"), 1);
  const double spread = 0.5 * 3 / 256;
  EXPECT_DOUBLE_EQ(model.probability({}, 'a'), (3 - 0.5 + spread) / 5);
  EXPECT_DOUBLE_EQ(model.probability({}, 'b'), (1 - 0.5 + spread) / 5);
  EXPECT_DOUBLE_EQ(model.probability({}, 'x'), spread / 5);
}

// n_1 = 4, n_2 = 2, n_3 = n_4 = 1: Y = 1/2, D1 = 1 - 2 Y 2/4 = 1/2,
// D2 = 2 - 3 Y 1/2 = 5/4, D3 = 3 - 4 Y 1/1 = 1. N1 = 4, N2 = N3 = 2.
TEST(NgramModel, DiscountsByHand) {
  const NgramModel model(bytes("abcdeeffggghhhh"), 1);
  const double spread = (4 * 0.5 + 2 * 1.25 + 2 * 1) / 256;
  EXPECT_DOUBLE_EQ(model.probability({}, 'a'), (1 - 0.5 + spread) / 15);
  EXPECT_DOUBLE_EQ(model.probability({}, 'e'), (2 - 1.25 + spread) / 15);
  EXPECT_DOUBLE_EQ(model.probability({}, 'g'), (3 - 1 + spread) / 15);
  EXPECT_DOUBLE_EQ(model.probability({}, 'h'), (4 - 1 + spread) / 15);
}

// ab and ba twice, ac and ca once: n_1 = n_2 = 2, Y = 1/3, D1 = 1 - 2 Y = 1/3,
// D2 = 2 - 0, D3 undefined: all are Y. Order 1 counts what stands before: a
// after b and c; b after a; c after a: n_1 = 2, n_2 = 1, Y = 1/2 likewise.
TEST(NgramModel, BigramByHand) {
  const NgramModel model(bytes("ababaca"), 2);
  const double a = (2 - 0.5 + 1.5 / 256) / 4, b = (1 - 0.5 + 1.5 / 256) / 4;
  EXPECT_DOUBLE_EQ(model.probability({}, 'a'), a);
  EXPECT_DOUBLE_EQ(model.probability(bytes("a"), 'b'),
                   (2 - 1. / 3 + 2. / 3 * b) / 3);
  EXPECT_DOUBLE_EQ(model.probability(bytes("zza"), 'a'), 2. / 3 * a / 3);
  EXPECT_DOUBLE_EQ(model.probability(bytes("z"), 'a'), a);  // z never occurs
  const double bits = -std::log2(model.probability(bytes("b"), 'a')) -
                      std::log2(model.probability(bytes("a"), 'b'));
  EXPECT_DOUBLE_EQ(model.bits_per_byte(bytes("xbab"), 2), bits / 2);
}

std::string sentences() {
  std::string text;
  for (int i = 0; i < 200; ++i) {
    text += "verse " + std::to_string(i * i % 97) + ": and " +
            std::string(i % 5, 'x') + " the end\n";
  }
  return text;
}

TEST(NgramModel, ProbabilitiesSumToOneAfterEveryContext) {
  const std::vector<uint8_t> text = bytes(sentences());
  for (const int order : {1, 2, 3, 4, NgramModel::kMostOrder}) {
    const NgramModel model(text, order);
    for (std::size_t i = 0; i + 9 < text.size(); i += 41) {
      const std::string context(text.begin() + i, text.begin() + i + 9);
      EXPECT_NEAR(sum_over_next(model, context), 1, 1e-12) << context;
    }
    EXPECT_NEAR(sum_over_next(model, ""), 1, 1e-12);
    EXPECT_NEAR(sum_over_next(model, "never seen\xff"), 1, 1e-12);
  }
}

TEST(NgramModel, LongerContextsHelpAndAllBeatUniform) {
  const std::vector<uint8_t> text = bytes(sentences());
  const std::size_t trained = text.size() * 4 / 5;
  double before = 8;
  for (const int order : {1, 2, 3, 4}) {
    const NgramModel model({text.data(), trained}, order);
    const double bits = model.bits_per_byte(text, trained);
    EXPECT_LT(bits, before);
    before = bits;
  }
}

TEST(NgramModel, AnEmptyTextIsUniform) {
  const NgramModel model({}, 3);
  EXPECT_DOUBLE_EQ(model.probability(bytes("ab"), 'c'), 1.0 / 256);
  EXPECT_DOUBLE_EQ(model.bits_per_byte(bytes("abc"), 0), 8);
}

TEST(NgramModel, RefusesWhatItCannotDo) {
  EXPECT_THROW(NgramModel(bytes("a"), 0), InvalidArgument);
  EXPECT_THROW(NgramModel(bytes("a"), 9), InvalidArgument);
  EXPECT_THROW(NgramModel({}, 1).bits_per_byte(bytes("a"), 1), InvalidArgument);
}

}  // namespace
}  // namespace timepipe
