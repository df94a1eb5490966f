#include "launcher/data/jsonl.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <span>
#include <string>
#include <vector>

#include "runtime/error.h"

namespace timepipe {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

std::vector<std::string> read(const std::string& lines,
                              const std::string& field = "text") {
  std::vector<std::string> texts;
  parse_jsonl(std::as_bytes(std::span(lines)), "a.jsonl", field,
              [&](std::string_view text) { texts.emplace_back(text); });
  return texts;
}

void expect_mistake(const std::string& lines, const std::string& message) {
  EXPECT_THAT([&] { read(lines); },
              ThrowsMessage<InvalidArgument>(
                  AllOf(HasSubstr("a.jsonl: line 2: " + message),
                        ::testing::Not(HasSubstr("\n")))))
      << lines.substr(0, 80);
}

TEST(Jsonl, TakesTheFieldOfEveryLine) {
  EXPECT_THAT(
      read("{\"text\": \"one\\n\\u00e9\\u0000\"}\r\n"
           "\n"
           "{\"id\": [{\"text\": 1}], \"text\": \"\", \"x\": {}}\n"
           "{\"text\":\"no line end\"}"),
      ElementsAre(std::string("one\n\xc3\xa9\0", 7), "", "no line end"));
  EXPECT_THAT(read("{\"text\": 1, \"body\": \"b\"}", "body"), ElementsAre("b"));
  EXPECT_THAT(read(""), ElementsAre());
}

TEST(Jsonl, NamesLineAndMistake) {
  const std::string good = "{\"text\": \"a\"}\n";
  expect_mistake(good + "{\"text\": \"a\"", "byte 13: not JSON: syntax error");
  expect_mistake(good + "{\"text\": \"a\"} {}", "byte 15: not JSON");
  expect_mistake(good + "{\"text\": \"\xff\"}", "byte 11: not JSON");
  expect_mistake(good + "{\"text\": \"\\ud800\"}", "byte 17: not JSON");
  expect_mistake(good + "{\"txt\": \"a\"}", "no field 'text'");
  expect_mistake(good + "{\"a\": {\"text\": \"a\"}}", "no field 'text'");
  expect_mistake(good + "{}", "no field 'text'");
  expect_mistake(good + "{\"text\": 1}",
                 "field 'text': a number, expected a text");
  expect_mistake(good + "{\"text\": null}", "field 'text': null, expected");
  expect_mistake(good + "{\"text\": [\"a\"]}", "field 'text': an array");
  expect_mistake(good + "{\"text\": {}}", "field 'text': an object");
  expect_mistake(good + "{\"text\": \"a\", \"text\": \"b\"}",
                 "field 'text' tw");
  expect_mistake(good + "[\"text\"]", "an array, expected a JSON object");
  expect_mistake(good + "\"text\"", "a text, expected a JSON object");
  expect_mistake(good + "3", "a number, expected a JSON object");
}

TEST(Jsonl, DeepNestingAndLongLinesAreRefusedOrPassed) {
  const std::string deep(1 << 20, '[');
  expect_mistake("\n" + deep, "an array, expected a JSON object");
  expect_mistake("\n{\"a\": " + deep, "byte 1048583: not JSON");
  EXPECT_THAT(read("{\"a\": " + deep + std::string(deep.size(), ']') +
                   ", \"text\": \"b\"}"),
              ElementsAre("b"));
  expect_mistake("\n" + std::string(kMostLineBytes + 1, 'a'),
                 "67108865 bytes, expected at most 67108864");
}

TEST(Jsonl, CountsLinesFromWhereItIsTold) {
  EXPECT_THAT(
      [] {
        const std::string lines = "\n?";
        parse_jsonl(
            std::as_bytes(std::span(lines)), "b", "text",
            [](std::string_view) {}, 41);
      },
      ThrowsMessage<InvalidArgument>(HasSubstr("b: line 42: byte 1: not")));
}

}  // namespace
}  // namespace timepipe
