#include "launcher/tokenizer/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <cstdint>
#include <fstream>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "launcher/tokenizer/process.h"
#include "launcher/tokenizer/utf8.h"
#include "runtime/error.h"
#include "runtime/files.h"
#include "tests/launcher/commands/tiny_model.h"
#include "tests/launcher/tokenizer/reference_ids.h"
#include "tests/support/temporary_file.h"
#include "tests/support/throws.h"

namespace timepipe {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::kBytePairs;
using testing::kUnigram;
using testing::reference_ids;
using testing::sample_text;
using testing::TemporaryFile;
using testing::throws;
using testing::TinyModel;

TEST(Utf8, EndsWhereTheBytesAreNoCharacter) {
  const auto valid = [](std::string_view text) {
    return valid_utf8_bytes(text);
  };
  EXPECT_EQ(valid(""), 0);
  EXPECT_EQ(valid("a\xc2\x80\xe0\xa0\x80\xed\x9f\xbf\xf0\x90\x80\x80\xf4\x8f"
                  "\xbf\xbf"),
            17);
  for (const char* bad :
       {"\x80", "\xc0\x80", "\xc1\xbf", "\xc3", "\xe0\x9f\xbf", "\xed\xa0\x80",
        "\xe2\x82", "\xe2\x82z", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80", "\xff"}) {
    EXPECT_EQ(valid(std::string("ab") + bad), 2) << bad;
  }
}

std::string streamed(Tokenizer& tokenizer, const std::vector<int64_t>& ids) {
  TextStream stream(tokenizer);
  std::string text;
  for (const int64_t id : ids) text += stream.add(id);
  return text + stream.finish();
}

TEST(BytesTokenizer, IdsAreBytes) {
  const auto tokenizer = make_tokenizer("bytes");
  EXPECT_EQ(tokenizer->name(), "bytes");
  EXPECT_EQ(tokenizer->vocab_size(), 256);
  EXPECT_FALSE(tokenizer->bos_id().has_value());
  EXPECT_FALSE(tokenizer->eos_id().has_value());
  EXPECT_THAT(tokenizer->encode("a\xff\n", ""), ElementsAre(97, 255, 10));
  std::string text(200'000, 'x');  // several pieces
  for (std::size_t i = 0; i < text.size(); ++i) {
    text[i] = static_cast<char>(i * 31 >> 4);
  }
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(text, "")), text);
  const std::vector<int64_t> beyond = {1, 256};
  EXPECT_THAT(
      [&] { tokenizer->decode(beyond); },
      throws<InvalidArgument>("token 1: id 256, expected one in [0, 256)"));
  TextStream stream(*tokenizer);
  EXPECT_EQ(stream.add(0xe2), "\xe2");
  EXPECT_EQ(stream.finish(), "");
}

TEST(SentencepieceTokenizer, LongTextsHaveTheIdsOfTheWholeText) {
  std::string text = sample_text();
  for (char& c : text) {
    if (c == '\n') c = ' ';
  }
  while (text.size() < 150'000) text += text.substr(0, 7777) + "  ";
  // Cut as other programs read it: after a whole character.
  text.resize(valid_utf8_bytes(text));
  for (const char* options : {kUnigram, kBytePairs}) {
    const TinyModel model(options);
    const auto tokenizer = make_tokenizer(model.path());
    EXPECT_EQ(tokenizer->encode(text, ""), reference_ids(model.path(), text))
        << options;
  }
}

TEST(SentencepieceTokenizer, TextComesBack) {
  const TinyModel model(kBytePairs);
  const auto tokenizer = make_tokenizer(model.path());
  EXPECT_THAT(model.path(), HasSubstr(tokenizer->name()));
  EXPECT_EQ(tokenizer->bos_id(), 1);
  EXPECT_EQ(tokenizer->eos_id(), 2);
  const std::string text = sample_text() +
                           "  two spaces\t\n\n\xf0\x9f\x98\x80" +
                           std::string(1, 0) + "\xe4\xb8\xad";
  const std::vector<int64_t> ids = tokenizer->encode(text, "");
  for (const int64_t id : ids) EXPECT_LT(id, tokenizer->vocab_size());
  EXPECT_EQ(tokenizer->decode(ids), text);
  EXPECT_EQ(streamed(*tokenizer, ids), text);
  EXPECT_TRUE(tokenizer->encode("", "").empty());
}

TEST(TextStream, JoinedIsTheTextOfAllIds) {
  std::mt19937 random(7);
  for (const char* options : {kUnigram, kBytePairs}) {
    const TinyModel model(options);
    const auto tokenizer = make_tokenizer(model.path());
    // Of bytes alone, and of everything, controls included.
    for (const int64_t most : {int64_t{259}, tokenizer->vocab_size()}) {
      const int64_t end = std::min(most, tokenizer->vocab_size());
      for (int repetition = 0; repetition < 40; ++repetition) {
        std::vector<int64_t> ids(repetition);
        for (int64_t& id : ids) id = random() % end;
        EXPECT_EQ(streamed(*tokenizer, ids), tokenizer->decode(ids))
            << ::testing::PrintToString(ids);
      }
    }
  }
}

TEST(TextStream, TextComesAsSoonAsItIsCertain) {
  const TinyModel model(kBytePairs);
  const auto tokenizer = make_tokenizer(model.path());
  TextStream stream(*tokenizer);
  for (const int64_t id : tokenizer->encode("The river", "")) {
    EXPECT_TRUE(tokenizer->is_byte_of_text(id) || !stream.add(id).empty());
  }
  const int64_t byte0 = 3;  // after <unk>, <s> and </s>
  ASSERT_TRUE(tokenizer->is_byte_of_text(byte0));
  EXPECT_EQ(stream.add(byte0 + 0xe2), "");
  EXPECT_EQ(stream.add(byte0 + 0x82), "");
  EXPECT_EQ(stream.add(byte0 + 0xac), "\xe2\x82\xac");
  EXPECT_EQ(stream.add(1), "");
  // Bytes that make no character: the text is never more than three behind.
  std::string text;
  for (int i = 0; i < 100; ++i) text += stream.add(byte0 + 0xff);
  EXPECT_EQ(text.size(), std::size_t{97 * 3});
  EXPECT_EQ(stream.finish(), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
}

TEST(SentencepieceTokenizer, FingerprintIsOfTheContents) {
  const TinyModel one(kUnigram), other(kBytePairs);
  const TemporaryFile copy(read_text(one.path()), ".model");
  EXPECT_EQ(tokenizer_fingerprint(one.path()),
            tokenizer_fingerprint(copy.path()));
  EXPECT_EQ(make_tokenizer(one.path())->fingerprint(),
            tokenizer_fingerprint(copy.path()));
  EXPECT_NE(tokenizer_fingerprint(one.path()),
            tokenizer_fingerprint(other.path()));
  EXPECT_EQ(tokenizer_fingerprint("bytes"), "bytes");
}

TEST(SentencepieceTokenizer, MistakesAreNamed) {
  EXPECT_THAT(
      [] { make_tokenizer("no/such.model"); },
      throws<IoError>("no/such.model: No such file or directory, expected the "
                      "tokenizer bytes or the path of a sentencepiece model"));
  const TemporaryFile empty("", ".model");
  EXPECT_THAT([&] { make_tokenizer(empty.path()); },
              throws<IoError>(HasSubstr(": empty, expected")));
  const TemporaryFile broken(std::string("ab\0", 3), ".model");
  EXPECT_THAT(
      [&] { make_tokenizer(broken.path()); },
      throws<InvalidArgument>(broken.path() + ": not a sentencepiece model"));
  const std::string expected = ", expected a sentencepiece model";
  const std::vector<std::pair<std::string, std::string>> others = {
      {sample_text(), "a text"},
      {"version https://git-lfs.github.com/spec/v1\n",
       "a pointer of Git LFS, not the file itself"},
      {"IQ== 0\nIg== 1\n", "a vocabulary of tiktoken"},
      {R"({"version": "1.0", "model": {}})", "JSON lines"},
      {"<html>", "an HTML page (begins with '<html>')"}};
  for (const auto& [bytes, what] : others) {
    const TemporaryFile file(bytes, ".model");
    EXPECT_THAT([&] { make_tokenizer(file.path()); },
                throws<InvalidArgument>(::testing::StartsWith(
                    file.path() + ": " + what + expected)));
    EXPECT_THROW(tokenizer_fingerprint(file.path()), InvalidArgument);
  }
  const TinyModel model(kUnigram);
  const auto tokenizer = make_tokenizer(model.path());
  EXPECT_THAT(
      [&] { tokenizer->encode("ab\xff", "--prompt"); },
      throws<InvalidArgument>(HasSubstr("--prompt: byte 2: not UTF-8")));
  const std::vector<int64_t> negative = {-1};
  EXPECT_THAT([&] { tokenizer->decode(negative); },
              throws<InvalidArgument>(HasSubstr("token 0: id -1")));
}

TEST(TokenizerProcess, AChildThatIsMissingOrDeadIsNamed) {
  EXPECT_THAT(
      [] { TokenizerProcess process("/none/timepipe-tokenizer"); },
      throws<IoError>(HasSubstr("/none/timepipe-tokenizer: No such file")));
  TokenizerProcess leaves("/bin/false");
  EXPECT_THAT([&] { leaves.request(TokenizerMessage::kOpen, "x"); },
              throws<IoError>("/bin/false: ended with status 1"));
  TokenizerProcess killed(tokenizer_program());
  EXPECT_THROW(killed.request(TokenizerMessage::kOpen, "x"), InvalidArgument);
  ASSERT_EQ(::kill(killed.pid(), SIGKILL), 0);
  EXPECT_THAT(
      [&] {
        for (;;) {
          try {
            killed.request(TokenizerMessage::kEncode, "x");
          } catch (const InvalidArgument&) {  // it lived for a moment
          }
        }
      },
      throws<IoError>(AllOf(HasSubstr("timepipe-tokenizer: ended by "),
                            HasSubstr("signal 9"))));
  EXPECT_THAT([&] { killed.request(TokenizerMessage::kEncode, "x"); },
              throws<IoError>(HasSubstr("has ended before")));
}

}  // namespace
}  // namespace timepipe
