#include "launcher/data/jsonl.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace timepipe {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

struct Lines {
  std::vector<std::string> texts, mistakes;
};

Lines read_all(const std::string& lines, const std::string& field = "text",
               int64_t first_line = 1) {
  Lines read;
  parse_jsonl(
      std::as_bytes(std::span(lines)), "a.jsonl", field,
      [&](std::string_view text) { read.texts.emplace_back(text); }, first_line,
      [&](const std::string& mistake) { read.mistakes.push_back(mistake); });
  return read;
}

std::vector<std::string> read(const std::string& lines,
                              const std::string& field = "text") {
  const Lines all = read_all(lines, field);
  EXPECT_THAT(all.mistakes, IsEmpty());
  return all.texts;
}

void expect_mistake(const std::string& lines, const std::string& message) {
  const Lines all = read_all(lines);
  EXPECT_THAT(all.mistakes,
              ElementsAre(AllOf(StartsWith("a.jsonl: line 2: " + message),
                                Not(HasSubstr("\n")))))
      << lines.substr(0, 80);
}

const std::string kGood = "{\"text\": \"a\"}\n";

TEST(Jsonl, TakesTheFieldOfEveryLine) {
  EXPECT_THAT(read("{\"text\": \"one\\n\\u00e9\\u0000\"}\r\n"
                   "\n \t\r\n"
                   "{\"id\": [{\"text\": 1}], \"text\": \"\", \"x\": {}}\n"
                   "\t{ \"text\"\t:\r\"spaces\" } \n"
                   "{\"te\\u0078t\": \"\\ud83d\\ude00\"}\n"
                   "\xef\xbb\xbf{\"text\": \"joined\"}\n"
                   "{\"text\":\"no line end\"}"),
              ElementsAre(std::string("one\n\xc3\xa9\0", 7), "", "spaces",
                          "\xf0\x9f\x98\x80", "joined", "no line end"));
  EXPECT_THAT(read("{\"text\": 1, \"body\": \"b\"}", "body"), ElementsAre("b"));
  EXPECT_THAT(read(""), IsEmpty());
}

TEST(Jsonl, OtherFieldsAreNotConverted) {
  for (const char* value :
       {"1e999", "-1E-999", "123456789012345678901234567890", "0", "-0.5e+7",
        "\"\\ud800\"", "\"\\udc00\\ud800\"", "\"\xff\"", "NaN", "-Infinity",
        "Infinity", "[1, [2, {}], []]", "{\"text\": \"b\", \"text\": 1}",
        "{\"\\ud800\": null}", "true", "false", "null", "\"\\\"\\\\\\/\""}) {
    const std::string v = value;
    EXPECT_THAT(read("{\"x\": " + v + ", \"text\": \"a\"}\n{\"text\": \"a\"," +
                     "\"x\":" + v + ",\"x\":" + v + "}\n" +
                     "{\"\\ud800\": " + v + " , \"text\": \"a\"}"),
                ElementsAre("a", "a", "a"))
        << v;
  }
}

TEST(Jsonl, NamesLineColumnAndMistake) {
  const std::string good = kGood;
  expect_mistake(good + "{\"text\": \"a\"",
                 "column 13: not JSON: expected '}'");
  expect_mistake(good + "{\"text\": \"a\"} {}",
                 "column 15: not JSON: expected the line's end");
  expect_mistake(good + "{\"text\": \"a",
                 "column 12: not JSON: expected '\"',");
  expect_mistake(good + "{\"text\": \"\xff\"}",
                 "column 11: field 'text': invalid string: ill-formed UTF-8");
  expect_mistake(good + "{\"text\": \"\\ud800\"}", "column 17: field 'text'");
  expect_mistake(good + "{\"text\" \"a\"}", "column 9: not JSON: expected ':'");
  expect_mistake(good + "{text: 1}", "column 2: not JSON: expected a name");
  expect_mistake(good + "{\"a\": 1,}", "column 9: not JSON: expected a name");
  expect_mistake(good + "{\"a\": [1,]}", "column 10: not JSON: expected a");
  expect_mistake(good + "{\"a\": [1}", "column 9: not JSON: expected ']'");
  expect_mistake(good + "{\"a\": 01}", "column 8: not JSON: expected '}'");
  expect_mistake(good + "{\"a\": 1.}", "column 9: not JSON: expected a digit");
  expect_mistake(good + "{\"a\": 1e}", "column 9: not JSON: expected a digit");
  expect_mistake(good + "{\"a\": nul}", "column 7: not JSON: expected a value");
  expect_mistake(good + "{\"a\": \"\\x\"}", "column 9: not JSON: an unknown");
  expect_mistake(good + "{\"a\": \"\\u12g4\"}",
                 "column 12: not JSON: expected");
  expect_mistake(good + "{\"a\": \"\t\"}", "column 8: not JSON: a control");
  expect_mistake(good + "{\"a\": " + std::string(1, '\0'),
                 "column 7: not JSON");
  expect_mistake(good + "plain", "column 1: not JSON: expected a value");
  expect_mistake(good + "{\"text\": 1}",
                 "column 10: field 'text': a number, expected a text");
  expect_mistake(good + "{\"text\": null}", "column 10: field 'text': null, ");
  expect_mistake(good + "{\"text\": [\"a\"]}",
                 "column 10: field 'text': an array");
  expect_mistake(good + "{\"text\": {}}", "column 10: field 'text': an object");
  expect_mistake(good + "{\"text\": \"a\", \"text\": \"b\"}",
                 "column 15: field 'text' twice");
  expect_mistake(good + " [\"text\"]",
                 "column 1: an array, expected a JSON object");
  expect_mistake(good + "\"text\"", "column 1: a text, expected a JSON object");
  expect_mistake(good + "3", "column 1: a number, expected a JSON object");
}

TEST(Jsonl, ListsTheFieldsThereAre) {
  expect_mistake(kGood + "{}", "no field 'text'");
  expect_mistake(kGood + "{\"a\": {\"text\": \"a\"}}",
                 "no field 'text', but 'a'");
  expect_mistake(kGood + "{\"Text\": 1, \"meta\": {\"x\": 1}, \"a\xff\": 2}",
                 "no field 'text', but 'Text', 'meta', 'a?'");
  std::string many;
  for (int i = 0; i < 20; ++i) many += ",\"f" + std::to_string(i) + "\":" + "0";
  expect_mistake(kGood + "{" + many.substr(1) + "}",
                 "no field 'text', but 'f0', 'f1', 'f2', 'f3', 'f4', 'f5', "
                 "'f6', 'f7', ...");
}

TEST(Jsonl, GoesOnAfterBadLines) {
  const Lines all = read_all("{\"text\": \"a\"}\n{\"text\": 1}\n{\n" + kGood);
  EXPECT_THAT(all.texts, ElementsAre("a", "a"));
  EXPECT_THAT(all.mistakes, ElementsAre(StartsWith("a.jsonl: line 2: "),
                                        StartsWith("a.jsonl: line 3: ")));
}

TEST(Jsonl, DeepNestingAndLongLinesAreRefusedOrPassed) {
  const std::string deep(1 << 20, '[');
  expect_mistake("\n" + deep,
                 "column 1048577: not JSON: expected a value, but");
  expect_mistake("\n{\"a\": " + deep, "column 1048583: not JSON");
  EXPECT_THAT(read("{\"a\": " + deep + std::string(deep.size(), ']') +
                   ", \"text\": \"b\"}"),
              ElementsAre("b"));
  expect_mistake("\n" + std::string(kMostLineBytes + 1, 'a'),
                 "more bytes than a line may have, 67108864");
  expect_mistake("\n" + std::string(kMostLineBytes + 1, ' '),
                 "more bytes than a line may have, 67108864");
}

TEST(Jsonl, BlocksOfLinesEndAtTheSamePlacesWhateverIsLookedAtAtOnce) {
  const std::string lines = "\xef\xbb\xbf{}\r\n\n\r\n{\"caf\xc3\xa9\"}\n" +
                            std::string(20, 'a') + "\n\nend";
  for (int64_t begin = 0; begin < std::ssize(lines); ++begin) {
    for (const int64_t least : {1, 2, 5, 30, 100}) {
      const std::size_t feed =
          lines.find('\n', static_cast<std::size_t>(begin + least));
      const int64_t end = feed == std::string::npos
                              ? std::ssize(lines)
                              : static_cast<int64_t>(feed) + 1;
      for (const int64_t window : {1, 2, 3, 7, 100}) {
        const LinesEnd found =
            find_lines_end(std::string_view(lines), begin, least, window);
        EXPECT_EQ(found.end, end) << begin << ", " << least << ", " << window;
        EXPECT_EQ(found.line_feeds,
                  std::count(lines.begin() + begin, lines.begin() + end, '\n'))
            << begin << ", " << least << ", " << window;
      }
    }
  }
}

TEST(Jsonl, OfALineThatIsTooLongTheStartIsRead) {
  std::string lines = kGood + std::string(kMostLineBytes + 100, ' ') + "\n";
  const int64_t least = std::ssize(kGood);
  const LinesEnd block = find_lines_end(std::string_view(lines), 0, least);
  EXPECT_EQ(block.end, std::ssize(lines));
  const std::vector<std::byte> read =
      read_lines(std::string_view(lines), 0, block.end, least);
  EXPECT_EQ(std::ssize(read), least + kMostLineBytes + 1);
  lines.resize(read.size());
  const Lines all = read_all(lines);
  EXPECT_THAT(all.texts, ElementsAre("a"));
  EXPECT_THAT(all.mistakes,
              ElementsAre("a.jsonl: line 2: more bytes than a line may have, " +
                          std::to_string(kMostLineBytes)));
}

TEST(Jsonl, CountsLinesFromWhereItIsTold) {
  EXPECT_THAT(read_all("\n?", "text", 41).mistakes,
              ElementsAre("a.jsonl: line 42: column 1: not JSON: expected a "
                          "value"));
}

}  // namespace
}  // namespace timepipe
