#include "launcher/data/prepare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "launcher/tokenizer/require_tokenizer.h"
#include "launcher/tokenizer/tokenizer.h"
#include "runtime/error.h"
#include "runtime/files.h"
#include "runtime/safetensors.h"
#include "tests/launcher/commands/tiny_model.h"
#include "tests/launcher/data/prepared.h"
#include "tests/support/temporary_file.h"
#include "tests/support/throws.h"

namespace timepipe {
namespace {

using testing::documents_of;
using ::testing::ElementsAre;
using testing::file_of;
using ::testing::HasSubstr;
using testing::ids_of;
using testing::json_line;
using testing::long_text;
using testing::Output;
using testing::prepare;
using testing::TemporaryFile;
using testing::throws;
using testing::TinyModel;

TEST(Prepare, BytesOfTextsAndLines) {
  const std::string a = long_text(200'000), b = "b\xff";
  const TemporaryFile text(a), other(b, ".md"),
      lines(json_line("one") + json_line("") + "\n" + json_line("t\nwo"),
            ".jsonl");
  const std::string file =
      file_of({.inputs = {text.path(), lines.path(), other.path()}});
  const auto tokenizer = make_tokenizer("bytes");
  EXPECT_THAT(
      documents_of(file),
      ElementsAre(ids_of(*tokenizer, a, false), ElementsAre(111, 110, 101),
                  ElementsAre(116, 10, 119, 111), ElementsAre(98, 255)));
  const TemporaryFile copy(file, ".safetensors");
  const TokenLayout layout = TokenFile(copy.path()).layout();
  EXPECT_EQ(layout.type, StoredToken::kU8);
  EXPECT_THAT(layout.metadata,
              ElementsAre(std::pair("tokenizer", "bytes"),
                          std::pair("tokenizer_fingerprint", "bytes"),
                          std::pair("vocab_size", "256")));
  // As other readers want it.
  const SafetensorsFile tensors = SafetensorsFile::read(copy.path());
  EXPECT_EQ(tensors.entry("documents").begin % 8, 0);
}

TEST(Prepare, SentencepieceWithAndWithoutMarks) {
  const TinyModel model(testing::kBytePairs);
  const auto tokenizer = make_tokenizer(model.path());
  const std::string a = long_text(150'000), b = "a caf\xc3\xa9";
  const TemporaryFile text(a), lines(json_line(b) + json_line(a), ".jsonl");
  PrepareOptions options = {.inputs = {text.path(), lines.path()},
                            .tokenizer = model.path()};
  const std::string file = file_of(options);
  EXPECT_THAT(documents_of(file), ElementsAre(ids_of(*tokenizer, a, true),
                                              ids_of(*tokenizer, b, true),
                                              ids_of(*tokenizer, a, true)));
  const TemporaryFile copy(file, ".safetensors");
  const TokenLayout layout = TokenFile(copy.path()).layout();
  EXPECT_EQ(layout.type, StoredToken::kU16);
  EXPECT_EQ(layout.metadata.at("tokenizer_fingerprint"),
            tokenizer->fingerprint());
  EXPECT_EQ(layout.metadata.at("eos_id"), "2");
  options.inputs = {lines.path()};
  options.bos = true;
  options.eos = false;
  std::vector<int64_t> with_bos = ids_of(*tokenizer, b, false);
  with_bos.insert(with_bos.begin(), 1);
  EXPECT_EQ(documents_of(file_of(options))[0], with_bos);
}

TEST(Prepare, TextsWithoutTokensAreLeftOut) {
  const TinyModel model(testing::kUnigram);
  const TemporaryFile blank("  \n "), blanks(std::string(200'000, ' ')),
      text("The river");
  const Output out;
  const Prepared prepared = prepare(
      {.inputs = {blank.path(), blanks.path(), text.path(), blanks.path()},
       .out = out.path,
       .tokenizer = model.path(),
       .eos = false});
  EXPECT_EQ(prepared.documents, 1);
  EXPECT_EQ(prepared.left_out, 3);
  const Output none;
  EXPECT_THAT(
      [&] {
        prepare({.inputs = {blank.path()},
                 .out = none.path,
                 .tokenizer = model.path()});
      },
      throws<InvalidArgument>(none.path + ": the inputs have no tokens"));
}

TEST(Prepare, JsonLinesUnderAnyName) {
  const std::string lines = json_line("one") + json_line("two");
  const auto documents = [&](const std::string& name_end,
                             std::optional<std::string> field) {
    const TemporaryFile file(lines, name_end);
    return documents_of(
        file_of({.inputs = {file.path()}, .field = std::move(field)}));
  };
  const auto both =
      ElementsAre(ElementsAre('o', 'n', 'e'), ElementsAre('t', 'w', 'o'));
  for (const char* end : {".json", ".ndjson", ".JSONL", ".jsonlines", ".jl"}) {
    EXPECT_THAT(documents(end, {}), both) << end;
  }
  for (const char* end : {"", ".txt"}) {
    EXPECT_THAT(documents(end, "text"), both) << end;
    EXPECT_THROW(documents(end, {}), InvalidArgument);
  }
}

TEST(Prepare, ByteOrderMarksAndLineEndsOfOtherSystems) {
  const std::string mark = "\xef\xbb\xbf";
  const TemporaryFile text(mark + "ab\r\n"),
      lines(mark + "{\"text\": \"c\"}\r\n\r\n{\"text\": \"d\"}", ".json");
  EXPECT_THAT(documents_of(file_of({.inputs = {text.path(), lines.path()}})),
              ElementsAre(ElementsAre('a', 'b', '\r', '\n'), ElementsAre('c'),
                          ElementsAre('d')));
}

TEST(Prepare, AnyBytesAreATextIfAsked) {
  const std::string bytes("{\"text\": \"\0\xff\"}\n", 14);
  const TemporaryFile file(bytes, ".jsonl");
  const auto tokenizer = make_tokenizer("bytes");
  EXPECT_THAT(
      documents_of(file_of({.inputs = {file.path()}, .any_bytes = true})),
      ElementsAre(ids_of(*tokenizer, bytes, false)));
}

TEST(Prepare, BadLinesAreLeftOutCountedAndNamed) {
  std::string lines;
  for (int i = 0; i < 9000; ++i) {
    lines += i % 1000 == 7 ? "{\"text\": 1}\n" : json_line("some text");
  }
  const TemporaryFile file(lines, ".jsonl");
  for (const int threads : {1, 3}) {
    const Output out;
    const Prepared prepared = prepare({.inputs = {file.path()},
                                       .out = out.path,
                                       .skip_bad_lines = true,
                                       .threads = threads});
    EXPECT_EQ(prepared.documents, 8991);
    EXPECT_EQ(prepared.bad_lines, 9);
    std::vector<std::string> first;
    for (const char* line : {"8", "1008", "2008", "3008", "4008"}) {
      first.push_back(file.path() + ": line " + line +
                      ": column 10: field 'text': a number, expected a text");
    }
    EXPECT_EQ(prepared.first_bad_lines, first);
  }
}

TEST(Prepare, TheFirstMistakeIsNamedAndNoFileIsLeft) {
  std::string lines;
  for (int i = 0; i < 9000; ++i) {
    lines +=
        i == 5000 || i == 8000 ? "{\"text\": 1}\n" : json_line("some text");
  }
  const TemporaryFile file(lines, ".jsonl");
  for (const int threads : {1, 3}) {
    const Output out;
    EXPECT_THAT(
        [&] {
          prepare_tokens(
              {.inputs = {file.path()}, .out = out.path, .threads = threads},
              [](int64_t, int64_t) {});
        },
        throws<InvalidArgument>(
            file.path() +
            ": line 5001: column 10: field 'text': a number, expected a "
            "text"));
    EXPECT_EQ(testing::entries_beginning_with(out.path), 0);
  }
}

TEST(Prepare, MistakesOfTextsAreNamed) {
  const auto mistake = [](PrepareOptions options) -> std::string {
    const Output out;
    if (options.out.empty()) options.out = out.path;
    try {
      prepare_tokens(options, [](int64_t, int64_t) {});
    } catch (const std::runtime_error& error) {
      return error.what();
    }
    return "";
  };
  const TemporaryFile text("text"), empty(""), tokens("ab", ".bin");
  EXPECT_EQ(mistake({.inputs = {text.path(), empty.path()}}),
            empty.path() + ": empty");
  EXPECT_EQ(mistake({.inputs = {"none.txt"}}),
            "none.txt: No such file or directory");
  EXPECT_THAT(mistake({.inputs = {tokens.path()}}),
              HasSubstr(": a .bin of tokens, expected a text or JSON lines"));
  const std::string before = long_text(300'000);
  const TemporaryFile nul(before + '\0');
  EXPECT_EQ(mistake({.inputs = {nul.path()}}),
            nul.path() + ": byte " + std::to_string(before.size()) +
                " is 0, expected a text; --text takes any bytes");
  EXPECT_EQ(mistake({.inputs = {text.path()}, .field = "text"}),
            "--field: " + text.path() + " is a text, expected JSON lines");
  EXPECT_EQ(mistake({.inputs = {text.path()}, .eos = true}),
            "--eos: tokenizer bytes has no such id");
  EXPECT_THAT(mistake({.inputs = {text.path()}, .out = text.path()}),
              HasSubstr("expected a name ending in .safetensors"));
  const TemporaryFile there("mine", ".safetensors");
  EXPECT_EQ(mistake({.inputs = {text.path()}, .out = there.path()}),
            "--out: " + there.path() + " exists; --overwrite replaces it");
  EXPECT_EQ(mistake({.inputs = {text.path(), there.path()},
                     .out = there.path(),
                     .any_bytes = true,
                     .overwrite = true}),
            "--out: " + there.path() + ": the file of INPUT");
  EXPECT_EQ(read_text(there.path()), "mine");
  EXPECT_EQ(
      mistake(
          {.inputs = {text.path()}, .out = there.path(), .overwrite = true}),
      "");
  const TinyModel model(testing::kUnigram);
  const std::string broken = long_text(100'000) + "\xff";
  const TemporaryFile file(broken);
  EXPECT_THAT(mistake({.inputs = {file.path()}, .tokenizer = model.path()}),
              HasSubstr(file.path() + ": byte " +
                        std::to_string(broken.size() - 1) + ": not UTF-8"));
}

TEST(RequireTokenizer, KnowsAModelByItsContents) {
  const TinyModel model(testing::kUnigram), other(testing::kBytePairs);
  const TemporaryFile text("The river"),
      copy(read_text(model.path()), ".model");
  const auto layout_of = [&](const std::string& tokenizer) {
    const Output out;
    prepare({.inputs = {text.path()}, .out = out.path, .tokenizer = tokenizer});
    return TokenFile(out.path).layout();
  };
  const TokenLayout bytes = layout_of("bytes"),
                    pieces = layout_of(model.path());
  require_tokenizer(bytes, "a", "bytes");
  require_tokenizer(pieces, "a", model.path());
  require_tokenizer(pieces, "a", copy.path());
  EXPECT_THAT([&] { require_tokenizer(pieces, "a.safetensors", "bytes"); },
              throws<InvalidArgument>(::testing::StartsWith(
                  "a.safetensors: tokens of tokenizer timepipe_test")));
  EXPECT_THAT([&] { require_tokenizer(bytes, "a", other.path()); },
              throws<InvalidArgument>(
                  HasSubstr("a: tokens of tokenizer bytes, expected those of "
                            "data.tokenizer = " +
                            other.path() + " (xxh64:")));
  EXPECT_THROW(require_tokenizer(pieces, "a", other.path()), InvalidArgument);
  EXPECT_THROW(require_tokenizer(pieces, "a", "none.model"), IoError);
}

TEST(RequireTokenizer, OtherFilesTellLess) {
  const TokenLayout text;
  require_tokenizer(text, "a.txt", "bytes");
  EXPECT_THAT([&] { require_tokenizer(text, "a.txt", "some.model"); },
              throws<InvalidArgument>(
                  HasSubstr("a.txt: the tokens of a text are its bytes")));
  TokenLayout named;
  named.kind = FileKind::kNpy;
  require_tokenizer(named, "a.npy", "some.model");
  named.metadata["tokenizer"] = "gpt2";
  EXPECT_THROW(require_tokenizer(named, "a", "bytes"), InvalidArgument);
  require_tokenizer(named, "a", "gpt2");
}

}  // namespace
}  // namespace timepipe
