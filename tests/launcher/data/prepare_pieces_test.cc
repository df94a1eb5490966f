#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "launcher/data/prepare.h"
#include "launcher/tokenizer/tokenizer.h"
#include "runtime/error.h"
#include "tests/launcher/commands/tiny_model.h"
#include "tests/launcher/data/prepared.h"
#include "tests/launcher/tokenizer/reference_ids.h"
#include "tests/support/temporary_file.h"

namespace timepipe {
namespace {

using testing::documents_of;
using ::testing::ElementsAre;
using testing::file_of;
using testing::ids_of;
using testing::json_line;
using testing::long_text;
using testing::Output;
using testing::TemporaryFile;
using testing::TinyModel;

// Inputs that are longer than what is read of them at once.

TEST(Prepare, ManyLinesInSeveralParts) {
  std::string lines;
  std::vector<std::string> texts;
  for (int i = 0; i < 4000; ++i) {
    texts.push_back("document " + std::to_string(i) + std::string(i % 90, '.'));
    lines += json_line(texts.back());
  }
  texts.push_back(long_text(100'000));
  lines += json_line(texts.back());
  const TemporaryFile file(lines, ".jsonl");
  const auto documents = documents_of(file_of({.inputs = {file.path()}}));
  ASSERT_EQ(documents.size(), texts.size());
  const auto tokenizer = make_tokenizer("bytes");
  for (std::size_t i = 0; i < texts.size(); ++i) {
    EXPECT_EQ(tokenizer->decode(documents[i]), texts[i]);
  }
}

TEST(Prepare, LongTextsHaveTheIdsThatSentencepieceGives) {
  const TinyModel model(testing::kBytePairs);
  std::string text;
  while (text.size() < 100'000) {
    text += "river\xe4\xb8\xad \n" + std::to_string(text.size());
  }
  const TemporaryFile file(text), json(json_line(text), ".jsonl");
  const std::vector<int64_t> ids = testing::reference_ids(model.path(), text);
  EXPECT_TRUE(documents_of(file_of({.inputs = {file.path(), json.path()},
                                    .tokenizer = model.path(),
                                    .eos = false})) == std::vector({ids, ids}));
}

TEST(Prepare, CharactersAndLineEndsAcrossPieces) {
  constexpr std::size_t kPieceBytes = std::size_t{64} << 10;
  const std::string mark = "\xef\xbb\xbf";
  const TinyModel model(testing::kBytePairs);
  const auto bytes = make_tokenizer("bytes"),
             pieces = make_tokenizer(model.path());
  for (std::size_t shift = 0; shift < 4; ++shift) {
    std::string text(shift, 'x');
    while (text.size() < 2 * kPieceBytes + 100) {
      text += "\xe4\xb8\xad\r\n\xf0\x9f\x98\x80\xc3\xa9 ";
    }
    const TemporaryFile file(mark + text);
    EXPECT_THAT(documents_of(file_of({.inputs = {file.path()}})),
                ElementsAre(ids_of(*bytes, text, false)));
    EXPECT_THAT(documents_of(file_of(
                    {.inputs = {file.path()}, .tokenizer = model.path()})),
                ElementsAre(ids_of(*pieces, text, true)));
    const std::string letters(kPieceBytes - 16 + shift, 'a');
    const std::string line = "{\"text\": \"" + letters + "\"}\r\n",
                      other = mark + "{\"text\": \"caf\xc3\xa9\"}\r\n\r\n";
    ASSERT_EQ(line.size(), kPieceBytes - 2 + shift);
    const TemporaryFile lines(mark + line + other + line, ".jsonl");
    const std::vector<int64_t> long_one = ids_of(*bytes, letters, false);
    EXPECT_THAT(
        documents_of(file_of({.inputs = {lines.path()}})),
        ElementsAre(long_one, ids_of(*bytes, "caf\xc3\xa9", false), long_one));
  }
}

// What prepare_tokens says if `cut` loses its end when the first bytes of the
// inputs were read.
std::string says_of_cut(const PrepareOptions& options, const std::string& cut) {
  std::string said;
  try {
    prepare_tokens(options, [&](int64_t, int64_t) {
      std::filesystem::resize_file(cut, 100);
    });
  } catch (const IoError& error) {
    said = error.what();
  }
  EXPECT_EQ(testing::entries_beginning_with(options.out), 0);
  return said;
}

TEST(Prepare, InputsThatAreCutShortAreNamedAndNoFileIsLeft) {
  const std::string text = long_text(2'000'000);
  std::string lines;
  while (lines.size() < text.size()) lines += json_line("some text");
  const TinyModel model(testing::kBytePairs);
  for (const int threads : {1, 3}) {
    for (const std::string& tokenizer : {std::string("bytes"), model.path()}) {
      for (const auto& [bytes, end] :
           {std::pair(text, ".txt"), std::pair(lines, ".jsonl")}) {
        const TemporaryFile first("another one"), file(bytes, end);
        const Output out;
        PrepareOptions options = {.inputs = {file.path()},
                                  .out = out.path,
                                  .tokenizer = tokenizer,
                                  .threads = threads};
        const std::string size = std::to_string(bytes.size());
        EXPECT_EQ(says_of_cut(options, file.path()),
                  file.path() + ": 100 bytes, expected " + size +
                      " as when it was opened: it was cut short");
        if (threads > 1) continue;  // which may have opened the next one
        const TemporaryFile whole(bytes, end);
        options.inputs = {first.path(), whole.path()};
        EXPECT_EQ(says_of_cut(options, whole.path()),
                  whole.path() + ": 100 bytes, expected " + size +
                      " as when it was looked at: it was cut short");
      }
    }
  }
}

}  // namespace
}  // namespace timepipe
