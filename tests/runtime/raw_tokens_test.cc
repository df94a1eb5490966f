#include "runtime/raw_tokens.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "runtime/error.h"
#include "runtime/files.h"
#include "runtime/shell_word.h"
#include "runtime/token_file.h"
#include "tests/support/temporary_file.h"
#include "tests/support/throws.h"

namespace timepipe {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using testing::stored_bytes;
using testing::TemporaryFile;
using testing::throws;

// What is wrong with a file of tokens, without its path.
std::string mistake_of(const std::string& bytes, const std::string& name_end,
                       StoredToken raw = StoredToken::kU16) {
  const TemporaryFile file(bytes, name_end);
  try {
    const TokenFile tokens(file.path(), raw);
  } catch (const InvalidArgument& error) {
    return std::string(error.what()).substr(file.path().size());
  }
  return "accepted";
}

TEST(TokenFile, OtherKindsAreRefusedByName) {
  const std::string gzip("\x1f\x8b\x08\0\0", 5);
  EXPECT_THAT(mistake_of(gzip, ".txt.gz"),
              AllOf(StartsWith(": a gzip file, expected tokens or a text: gzip "
                               "-dc "),
                    HasSubstr(" | timepipe data prepare - --out ")));
  EXPECT_THAT(mistake_of("{\"text\": \"a\"}\n", ".json"),
              AllOf(StartsWith(": JSON lines, expected tokens or a text: "),
                    HasSubstr("timepipe data prepare ")));
  EXPECT_THAT(mistake_of(std::string("a\0b", 3), ".txt"),
              StartsWith(": binary data, not a text (byte 1 is 0)"));
}

TEST(TokenFile, RawTokensOfAnotherWidthAreNamed) {
  EXPECT_THAT(mistake_of(stored_bytes<uint32_t>({5, 60000, 7, 8}), ".bin"),
              StartsWith(": every second uint16 is 0: uint32 or int32 tokens? "
                         "Set data.token_type = uint32"));
  EXPECT_EQ(mistake_of(stored_bytes<uint32_t>({5, 60000, 7, 8}), ".bin",
                       StoredToken::kU32),
            "accepted");
  EXPECT_EQ(mistake_of(stored_bytes<uint32_t>({5, 70000, 7, 8}), ".bin"),
            "accepted");
  EXPECT_EQ(
      mistake_of(stored_bytes<uint16_t>({5, 0, 7, 0, 5, 0, 7, 1}), ".bin"),
      "accepted");
  EXPECT_THAT(mistake_of(stored_bytes<int32_t>({5, -100, 7, -1}), ".bin"),
              StartsWith(": every second uint16 is 0 or has all bits set: "
                         "int32 tokens, some below 0"));
  for (const StoredToken raw : {StoredToken::kU16, StoredToken::kU32}) {
    EXPECT_THAT(mistake_of(stored_bytes<int64_t>({5, 60000, 7, -1, 8, 9, 1, 2}),
                           ".bin", raw),
                HasSubstr(": int64 tokens, expected uint"));
    EXPECT_THAT(mistake_of(std::string(64, '\0'), ".bin", raw),
                HasSubstr(" tokens are 0, expected"));
  }
  EXPECT_THAT(
      mistake_of(std::string("\0\0\0\1\0\0\1\2\0\0\0\3\0\0\0\4", 16), ".bin"),
      StartsWith(": every second uint16 is 0: big-endian tokens?"));
}

TEST(TokenFile, AdviceQuotesNamesForTheShell) {
  const std::string wide = stored_bytes<int64_t>({5, 60000, 7, 1, 8, 9, 1, 2});
  for (const char* name : {"my tokens", "John's"}) {
    const TemporaryFile file(wide, std::string(name) + ".bin");
    EXPECT_THAT([&] { TokenFile tokens(file.path()); },
                throws<InvalidArgument>(HasSubstr(
                    "'<i8'))\" " + shell_word(file.path()) + " makes a file")));
  }
  EXPECT_EQ(shell_word("a/b-1.bin"), "a/b-1.bin");
  EXPECT_EQ(shell_word("my tokens"), "'my tokens'");
  EXPECT_EQ(shell_word("John's $(x)"), "'John'\\''s $(x)'");
  EXPECT_EQ(shell_word("-n"), "./-n");
}

TEST(TokenFile, MegatronFilesAreToldByTheirIndex) {
  const TemporaryFile bin(stored_bytes<uint16_t>({1, 2, 3}), ".bin");
  const std::string index =
      bin.path().substr(0, bin.path().size() - 4) + ".idx";
  const auto write_index = [&](const std::string& bytes) {
    write_file(index, bytes);
  };
  write_index(std::string("MMIDIDX\0\0\1\0\0\0\0\0\0\0\4", 18));
  EXPECT_THAT([&] { TokenFile file(bin.path()); },
              throws<InvalidArgument>(
                  AllOf(StartsWith(bin.path() + ": a Megatron file: " + index +
                                   " says that its tokens are i4, expected"),
                        HasSubstr("numpy.fromfile(sys.argv[1], '<i4'))\" " +
                                  bin.path() + " makes a file"))));
  write_index("another index");
  EXPECT_EQ(TokenFile(bin.path()).num_tokens(), 3);
  std::filesystem::remove(index);
}

}  // namespace
}  // namespace timepipe
