#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "launcher/tokenizer/character_map.h"
#include "launcher/tokenizer/neutral_cuts.h"
#include "launcher/tokenizer/tokenizer.h"
#include "runtime/error.h"
#include "runtime/file_kind.h"
#include "runtime/files.h"
#include "tests/launcher/commands/tiny_model.h"
#include "tests/launcher/tokenizer/reference_ids.h"
#include "tests/support/temporary_file.h"
#include "tests/support/throws.h"

namespace timepipe {
namespace {

using ::testing::HasSubstr;
using testing::kBytePairs;
using testing::kUnigram;
using testing::reference_ids;
using testing::TemporaryFile;
using testing::throws;
using testing::TinyModel;

std::string joined(const std::vector<std::string>& words, std::string_view by,
                   std::size_t size) {
  std::mt19937 random(3);
  std::string text;
  while (text.size() < size) {
    text += words[random() % words.size()];
    text += by;
  }
  return text;
}

// Texts of several pieces, by kind.
std::map<std::string, std::string> texts() {
  const std::vector<std::string> words = {
      "river", "remembers", "what", "12", "caf\xc3\xa9", "e\xcc\x81t\xc3\xa9"};
  const std::vector<std::string> signs = {"\xe4\xb8\xad", "\xe6\x96\x87",
                                          "\xe5\xad\x97", "\xe7\x9a\x84"};
  std::vector<std::string> base64;
  for (char c = '+'; c <= 'z'; ++c) base64.emplace_back(1, c);
  constexpr std::size_t kSize = 80'000;
  return {{"single spaces", joined(words, " ", kSize)},
          {"double spaces", joined(words, "  ", kSize)},
          {"tabs", joined(words, "\t", kSize)},
          {"a word a line", joined(words, "\n", kSize)},
          {"line ends of DOS", joined(words, "\r\n", kSize)},
          {"blank lines", joined(words, " \n\n ", kSize)},
          {"Chinese", joined(signs, "", kSize)},
          {"base64", joined(base64, "", kSize)},
          {"one letter", std::string(kSize, 'r')},
          {"spaces alone", std::string(kSize, ' ')}};
}

// What spm_train makes of byte pairs by itself.
constexpr char kMapsCharacters[] = "--model_type=bpe --vocab_size=150";

class WholeTexts : public ::testing::TestWithParam<const char*> {};

TEST_P(WholeTexts, HaveTheIdsThatSentencepieceGives) {
  const TinyModel model(GetParam());
  const auto tokenizer = make_tokenizer(model.path());
  for (const auto& [kind, text] : texts()) {
    const std::vector<int64_t> ids = tokenizer->encode(text, "");
    const std::vector<int64_t> reference = reference_ids(model.path(), text);
    EXPECT_EQ(ids.size(), reference.size()) << kind;
    EXPECT_TRUE(ids == reference) << kind;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Models, WholeTexts,
    ::testing::Values(
        kUnigram, kBytePairs, kMapsCharacters,
        "--model_type=bpe --vocab_size=150 --normalization_rule_name=identity",
        "--model_type=bpe --vocab_size=150 --normalization_rule_name=identity "
        "--add_dummy_prefix=false",
        "--model_type=bpe --vocab_size=150 --normalization_rule_name=identity "
        "--treat_whitespace_as_suffix=true",
        // Words joined, and pieces that no merge makes.
        "--model_type=bpe --vocab_size=200 --normalization_rule_name=identity "
        "--split_by_whitespace=false --user_defined_symbols=er,ri,at1,rr",
        "--model_type=char --vocab_size=60",
        "--model_type=word --vocab_size=60"));

// Words that can be read in many ways.
std::string ambiguous_words(std::size_t size) {
  std::mt19937 random(3);
  std::string text;
  while (text.size() < size) {
    for (std::size_t left = 2 + random() % 8; left > 0; --left) {
      text += static_cast<char>('a' + random() % 5);
    }
    text += ' ';
  }
  return text;
}

TEST(WholeTexts, UnigramScoresAreRoundedOverTheWholeText) {
  std::string sample = ambiguous_words(15'000);
  for (std::size_t i = 0; i < sample.size(); i += 100) {
    sample.replace(sample.find(' ', i), 1, "\n");
  }
  const TinyModel model("--vocab_size=400", sample);
  const auto tokenizer = make_tokenizer(model.path());
  const std::string text = ambiguous_words(150'000);
  EXPECT_TRUE(tokenizer->encode(text, "") == reference_ids(model.path(), text));
}

TEST(WholeTexts, BytePairsAreCutWhereNoPieceJoins) {
  const TinyModel identity(kBytePairs), maps(kMapsCharacters);
  for (const TinyModel* model : {&identity, &maps}) {
    const auto tokenizer = make_tokenizer(model->path());
    for (const auto& [kind, text] : texts()) {
      constexpr int64_t kBegin = 1000;
      const int64_t end = tokenizer->piece_end(std::string_view(text), kBegin);
      if (kind == "spaces alone" || kind == "one letter" ||
          (kind == "Chinese" && model == &maps)) {
        EXPECT_EQ(end, std::ssize(text)) << kind;
      } else {
        EXPECT_LE(end - kBegin, 64 << 10) << kind;
        EXPECT_GT(end - kBegin, 32 << 10) << kind;
      }
    }
  }
}

TEST(WholeTexts, LargerOnesThanAreReadAtOnceAreRefused) {
  const TinyModel model(kUnigram);
  const auto tokenizer = make_tokenizer(model.path());
  const TemporaryFile file("");
  std::filesystem::resize_file(file.path(), (std::size_t{256} << 20) + 1);
  const InputFile text(file.path());
  EXPECT_THAT(
      [&] {
        tokenizer->encode(text, "a.txt",
                          [](std::span<const int64_t>, int64_t) {});
      },
      throws<InvalidArgument>(HasSubstr("a.txt: byte 0: 268435457 bytes")));
}

// Which is read piece by piece, after bytes that aren't of the text.
TEST(WholeTexts, HaveTheSameIdsFromAFile) {
  const TinyModel model(kBytePairs);
  const auto tokenizer = make_tokenizer(model.path());
  for (const auto& [kind, text] : texts()) {
    const TemporaryFile file("\xef\xbb\xbf" + text);
    const InputFile input(file.path());
    std::vector<int64_t> ids;
    int64_t bytes = 0;
    tokenizer->encode(text_of(input), "",
                      [&](std::span<const int64_t> more, int64_t count) {
                        ids.insert(ids.end(), more.begin(), more.end());
                        bytes += count;
                      });
    EXPECT_TRUE(ids == tokenizer->encode(text, "")) << kind;
    EXPECT_EQ(bytes, std::ssize(text)) << kind;
  }
}

// Fields of a serialized ModelProto.
std::string bytes_field(int number, const std::string& bytes) {
  return std::string{static_cast<char>(number << 3 | 2),
                     static_cast<char>(bytes.size())} +
         bytes;
}
std::string piece(const std::string& text, char type = 1) {
  return bytes_field(1, bytes_field(1, text) + std::string{3 << 3, type});
}
const std::string kTrainedAsBytePairs =
    bytes_field(2, std::string{3 << 3, 2}) +
    bytes_field(3, bytes_field(1, "identity"));

TEST(NeutralCuts, AreBetweenCharactersThatNoPieceJoins) {
  const NeutralCuts cuts(piece("ab") +
                         piece("b\xe2\x96\x81"
                               "d") +
                         piece("\xe4\xb8\xad\xe6\x96\x87") +
                         kTrainedAsBytePairs);
  ASSERT_TRUE(cuts.anywhere());
  EXPECT_FALSE(cuts.at("xaby", 2));
  EXPECT_TRUE(cuts.at("xaby", 1));
  EXPECT_TRUE(cuts.at("ba", 1));
  EXPECT_FALSE(cuts.at("b d", 1));
  EXPECT_TRUE(cuts.at("a d", 1));
  EXPECT_FALSE(cuts.at("a d", 2)) << "after a space";
  EXPECT_FALSE(cuts.at("\xe4\xb8\xad\xe6\x96\x87", 3));
  EXPECT_TRUE(cuts.at("\xe6\x96\x87\xe4\xb8\xad", 3));
  for (const std::size_t inside : {1, 2, 4, 5}) {
    EXPECT_FALSE(cuts.at("\xe6\x96\x87\xe4\xb8\xad", inside));
  }
  EXPECT_FALSE(cuts.at("a\xff", 1));
  EXPECT_FALSE(
      cuts.at("\xff"
              "a",
              1));
}

TEST(NeutralCuts, AreNowhereInOtherModels) {
  const std::string pieces = piece("ab");
  EXPECT_TRUE(NeutralCuts(pieces + kTrainedAsBytePairs).anywhere());
  for (const std::string& model :
       {std::string(), pieces, std::string("no model"),
        pieces + bytes_field(2, std::string{3 << 3, 1}),
        pieces + piece("cd", 5) + kTrainedAsBytePairs,
        pieces + piece("\xff") + kTrainedAsBytePairs,
        pieces + kTrainedAsBytePairs + "\x0a\x7f" + "cut",
        pieces + bytes_field(2, std::string{3 << 3, 2, '\xc0', 1, 1})}) {
    EXPECT_FALSE(NeutralCuts(model).anywhere());
    EXPECT_FALSE(NeutralCuts(model).at("xy", 1));
  }
}

TEST(NeutralCuts, AreBetweenAsciiThatIsMappedByItself) {
  const TinyModel model(kMapsCharacters);
  const NeutralCuts cuts(read_text(model.path()));
  ASSERT_TRUE(cuts.anywhere());
  EXPECT_TRUE(cuts.at("river runs", 5));
  EXPECT_TRUE(cuts.at("river\nruns", 5)) << "a space there";
  EXPECT_FALSE(cuts.at("river\nruns", 6)) << "after a space";
  EXPECT_FALSE(cuts.at("river\1;runs", 6)) << "after nothing";
  EXPECT_FALSE(cuts.at("caf\xc3\xa9 runs", 5));
  EXPECT_FALSE(cuts.at("wxe\xcc\x81", 2)) << "e may become another letter";
  EXPECT_FALSE(cuts.at("e\xcc\x81", 1));
}

// The definition of NeutralCuts::piece_end, with all of the text in sight.
int64_t piece_end(const NeutralCuts& cuts, std::string_view text, int64_t begin,
                  int64_t most) {
  const auto size = std::ssize(text);
  const auto cut = [&](int64_t at) {
    return cuts.at(text, static_cast<std::size_t>(at));
  };
  if (begin + most >= size) return size;
  for (int64_t at = begin + most; at > begin + most / 2; --at) {
    if (cut(at)) return at;
  }
  for (int64_t at = begin + most + 1; at < size; ++at) {
    if (cut(at)) return at;
  }
  return size;
}

TEST(NeutralCuts, EndPiecesAtTheSamePlacesWhateverIsLookedAtAtOnce) {
  const TinyModel identity(kBytePairs), maps(kMapsCharacters);
  for (const TinyModel* model : {&identity, &maps}) {
    const NeutralCuts cuts(read_text(model->path()));
    for (const auto& [kind, whole] : texts()) {
      // Characters of one to four bytes, one of them cut at the end.
      const std::string text = whole.substr(0, 400) + "\xf0\x9f\x98\x80 and " +
                               whole.substr(0, 200) + "\xc3";
      for (const int64_t window : {1, 2, 3, 4, 5, 7, 64, 1000}) {
        for (const int64_t most : {10, 64, 150}) {
          for (int64_t begin = 0; begin < std::ssize(text); begin += 37) {
            EXPECT_EQ(
                cuts.piece_end(std::string_view(text), begin, most, window),
                piece_end(cuts, text, begin, most))
                << kind << ", window " << window << ", " << most
                << " bytes at most from " << begin;
          }
        }
      }
    }
  }
}

// A map of one text, of two characters, to `becomes`.
std::string map_of(std::string_view text, std::string_view becomes) {
  constexpr uint32_t kRoot = 256, kSecond = 512, kLast = 768;
  std::vector<uint32_t> units(1024);
  const uint32_t first = kRoot ^ static_cast<unsigned char>(text[0]),
                 second = kSecond ^ static_cast<unsigned char>(text[1]);
  units[0] = kRoot << 10;
  units[first] = (first ^ kSecond) << 10 | static_cast<unsigned char>(text[0]);
  units[second] =
      (second ^ kLast) << 10 | 1U << 8 | static_cast<unsigned char>(text[1]);
  units[kLast] = uint32_t{1} << 31;
  const auto size = static_cast<uint32_t>(units.size() * sizeof(uint32_t));
  std::string bytes(sizeof(size) + size, '\0');
  std::memcpy(bytes.data(), &size, sizeof(size));
  std::memcpy(bytes.data() + sizeof(size), units.data(), size);
  return bytes + std::string(becomes) + '\0';
}

TEST(CharacterMap, KnowsNothingWhereAsciiIsReplacedWithWhatIsBeforeIt) {
  const CharacterMap none("");
  EXPECT_TRUE(none.keeps(0x4e2d));
  EXPECT_EQ(none.after_ascii(0x4e2d), 0x4e2d);
  const CharacterMap harmless(map_of("a\xcc", "b"));
  EXPECT_TRUE(harmless.keeps('a'));
  EXPECT_EQ(harmless.after_ascii('a'), 0);
  EXPECT_EQ(harmless.after_ascii('b'), 'b');
  EXPECT_FALSE(harmless.keeps(0x4e2d));
  EXPECT_EQ(harmless.after_ascii(0x4e2d), 0);
  const std::string whole = map_of("ab", "c");
  for (const std::string& bytes :
       {whole, whole.substr(0, 3), whole.substr(0, 100)}) {
    const CharacterMap unknown(bytes);
    for (const char c : {'a', 'b', 'x', ' '}) {
      EXPECT_FALSE(unknown.keeps(c));
      EXPECT_EQ(unknown.after_ascii(c), 0);
    }
  }
}

}  // namespace
}  // namespace timepipe
