#include "runtime/token_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/error.h"
#include "tests/support/throws.h"
#include "tests/support/token_files.h"

namespace timepipe {
namespace {

using ::testing::AllOf;
using testing::as_bytes;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::npy;
using testing::npy_dictionary;
using testing::read;
using testing::safetensors;
using ::testing::StartsWith;
using testing::stored_bytes;
using testing::TemporaryFile;
using testing::tensors;
using testing::throws;

std::string llmc(int32_t magic, int32_t version, int32_t count,
                 const std::string& tokens) {
  std::vector<int32_t> header(256);
  header[0] = magic;
  header[1] = version;
  header[2] = count;
  return stored_bytes(header) + tokens;
}

TEST(TokenFile, TextIsItsBytes) {
  const TemporaryFile text("ab\x1b\xff\n");
  const TokenFile file(text.path());
  EXPECT_EQ(file.num_tokens(), 5);
  EXPECT_THAT(read(file, 0, 5), ElementsAre('a', 'b', 27, 255, '\n'));
  EXPECT_TRUE(read(file, 5, 0).empty());
  EXPECT_EQ(file.layout().kind, FileKind::kText);
  EXPECT_TRUE(file.layout().documents.empty());
}

TEST(TokenFile, ByteOrderMarkIsNoPartOfAText) {
  const TemporaryFile text(
      "\xef\xbb\xbf"
      "ab");
  const TokenFile file(text.path());
  EXPECT_EQ(file.num_tokens(), 2);
  EXPECT_THAT(read(file, 0, 2), ElementsAre('a', 'b'));
  EXPECT_EQ(file.layout().kind, FileKind::kText);
}

TEST(TokenFile, KindDoesNotDependOnLetterCaseOrNameAlone) {
  const std::string numbers =
      npy(1, npy_dictionary("<u2", "(2,)"), stored_bytes<uint16_t>({3, 65535}));
  for (const char* end : {".NPY", ".dat", ".bin"}) {
    const TemporaryFile file(numbers, end);
    EXPECT_THAT(read(TokenFile(file.path()), 0, 2), ElementsAre(3, 65535));
  }
  const TemporaryFile saved(
      safetensors("U16", stored_bytes<uint16_t>({5, 6}), 2, {0}),
      ".SafeTensors");
  EXPECT_THAT(read(TokenFile(saved.path()), 0, 2), ElementsAre(5, 6));
  const TemporaryFile bin(stored_bytes<uint16_t>({1, 65535}), ".BIN");
  EXPECT_THAT(read(TokenFile(bin.path()), 0, 2), ElementsAre(1, 65535));
}

TEST(TokenFile, CopyKeepsTheFileOpen) {
  std::string text;
  for (int i = 0; i < 100'000; ++i) text += static_cast<char>(1 + i % 250);
  const TemporaryFile file(text);
  auto first = std::make_unique<TokenFile>(file.path());
  const TokenFile second = *first;
  first.reset();
  std::vector<int64_t> ids(2);
  second.read(99'998, ids, 256);
  EXPECT_THAT(ids, ElementsAre(1 + 99'998 % 250, 1 + 99'999 % 250));
}

TEST(TokenFile, RawBinHasTheTypeThatIsAskedFor) {
  const TemporaryFile bin(stored_bytes<uint16_t>({1, 65535, 7, 8}), ".bin");
  EXPECT_THAT(read(TokenFile(bin.path()), 1, 2), ElementsAre(65535, 7));
  const TokenFile wide(bin.path(), StoredToken::kU32);
  EXPECT_THAT(read(wide, 0, 2), ElementsAre(0xffff0001, 0x00080007));
}

TEST(TokenFile, LlmcHeaderTellsTheType) {
  const TemporaryFile narrow(
      llmc(20240520, 1, 3, stored_bytes<uint16_t>({50256, 1, 2})), ".bin");
  EXPECT_THAT(read(TokenFile(narrow.path(), StoredToken::kU32), 0, 3),
              ElementsAre(50256, 1, 2));
  const TemporaryFile wide(
      llmc(20240801, 7, 2, stored_bytes<uint32_t>({128000, 5})), ".bin");
  EXPECT_THAT(read(TokenFile(wide.path()), 0, 2), ElementsAre(128000, 5));
}

TEST(TokenFile, SafetensorsHasDocumentsAndMetadata) {
  const TemporaryFile saved(
      safetensors("U16", stored_bytes<uint16_t>({5, 6, 7}), 3, {0, 2}),
      ".safetensors");
  const TokenFile file(saved.path());
  EXPECT_THAT(read(file, 0, 3), ElementsAre(5, 6, 7));
  EXPECT_THAT(file.layout().documents, ElementsAre(0, 2));
  EXPECT_EQ(file.layout().metadata.at("tokenizer"), "bytes");
}

TEST(TokenFile, RefusesMalformedBin) {
  const auto parse = [](const std::string& bytes) {
    return parse_bin(as_bytes(bytes), "f.bin", StoredToken::kU16);
  };
  EXPECT_THAT([&] { parse("abc"); },
              throws<InvalidArgument>(
                  "f.bin: 3 bytes of tokens, expected a multiple of 2"));
  EXPECT_THAT(
      [&] {
        parse(stored_bytes<int32_t>({20240520, 1}));
      },
      throws<InvalidArgument>(HasSubstr("too short")));
  EXPECT_THAT([&] { parse(llmc(20240520, 2, 1, "ab")); },
              throws<InvalidArgument>("f.bin: header: version 2, expected 1"));
  EXPECT_THAT(
      [&] { parse(llmc(20240520, 1, 2, "ab")); },
      throws<InvalidArgument>("f.bin: header: 2 tokens, but the file has 1"));
}

TEST(TokenFile, RefusesIdsOutsideTheVocabulary) {
  const TemporaryFile bin(stored_bytes<uint16_t>({1, 2, 300}), ".bin");
  const TokenFile file(bin.path());
  EXPECT_THAT(read(file, 0, 2, 3), ElementsAre(1, 2));
  EXPECT_THAT([&] { read(file, 1, 2, 300); },
              throws<InvalidArgument>(
                  bin.path() + ": token 2: id 300, expected one in [0, 300)"));
  const TemporaryFile negative(
      npy(1, npy_dictionary("<i4", "(1,)"), stored_bytes<int32_t>({-1})),
      ".npy");
  EXPECT_THAT([&] { read(TokenFile(negative.path()), 0, 1, 300); },
              throws<InvalidArgument>(HasSubstr("id -1")));
  const std::string ids = stored_bytes<int64_t>({4, -7});
  const TemporaryFile tensor(tensors({{"tokens", "I64", {2}, as_bytes(ids)}})),
      beyond(tensors({{"tokens", "U64", {2}, as_bytes(ids)}}));
  EXPECT_THAT([&] { read(TokenFile(tensor.path()), 0, 2); },
              throws<InvalidArgument>(
                  StartsWith(tensor.path() + ": token 1: id -7, expected")));
  EXPECT_THAT([&] { read(TokenFile(beyond.path()), 0, 2); },
              throws<InvalidArgument>(
                  HasSubstr("token 1: id 9223372036854775807, expected")));
}

TEST(TokenFile, NamesTheFileThatWasCutShort) {
  std::vector<uint16_t> ids(100'000);
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = i % 50'021;
  const TemporaryFile bin(stored_bytes(ids), ".bin");
  const TokenFile file(bin.path());
  EXPECT_THAT(read(file, 99'998, 2), ElementsAre(99'998 % 50'021, 49'978));
  std::filesystem::resize_file(bin.path(), 150'000);
  EXPECT_THAT(read(file, 74'998, 2), ElementsAre(24'977, 24'978));
  for (const int64_t first : {0, 74'999, 99'998}) {
    EXPECT_THAT([&] { read(file, first, 100'000 - first); },
                throws<IoError>(
                    HasSubstr(bin.path() + ": 150000 bytes, expected 200000")));
  }
}

TEST(TokenFile, RefusesRangesBeyondTheEnd) {
  const TemporaryFile text("abc");
  const TokenFile file(text.path());
  EXPECT_THAT([&] { read(file, 2, 2); },
              throws<InvalidArgument>(AllOf(HasSubstr(text.path()),
                                            HasSubstr("[2, 2 + 2)"),
                                            HasSubstr("[0, 3)"))));
  EXPECT_THROW(read(file, -1, 1), InvalidArgument);
  EXPECT_THROW(read(file, INT64_MAX, 1), InvalidArgument);
}

TEST(TokenFile, NamesFilesThatItCannotRead) {
  const std::string missing = TemporaryFile::unused_path().string();
  EXPECT_THAT([&] { TokenFile file(missing); },
              throws<IoError>(missing + ": No such file or directory"));
  const TemporaryFile empty("");
  EXPECT_THAT([&] { TokenFile file(empty.path()); },
              throws<IoError>(empty.path() + ": empty"));
}

TEST(TokenFile, HashIsThatOfTheTokensInAnyForm) {
  const TemporaryFile text("abc"),
      bin(stored_bytes<uint16_t>({'a', 'b', 'c'}), ".bin"),
      npy_file(npy(1, npy_dictionary("<i8", "(3,)"),
                   stored_bytes<int64_t>({'a', 'b', 'c'})),
               ".npy"),
      saved(safetensors("U32", stored_bytes<uint32_t>({'a', 'b', 'c'}), 3,
                        {0, 2}),
            ".safetensors"),
      again(safetensors("U32", stored_bytes<uint32_t>({'a', 'b', 'c'}), 3,
                        {0, 1}),
            ".safetensors"),
      other("abd"), longer(stored_bytes<uint16_t>({'a', 'b', 'c', 0}), ".bin");
  const auto hash = [](const TemporaryFile& file) {
    return TokenFile(file.path()).hash();
  };
  for (const TemporaryFile* same : {&bin, &npy_file, &saved, &again}) {
    EXPECT_EQ(hash(*same), hash(text)) << same->path();
  }
  EXPECT_NE(hash(other), hash(text));
  EXPECT_NE(hash(longer), hash(text));
  const auto documents = [](const TemporaryFile& file) {
    return TokenFile(file.path()).hash_of_documents();
  };
  EXPECT_EQ(documents(text), 0u);
  EXPECT_NE(documents(saved), documents(again));
}

TEST(TokenFile, HashSeesBothEndsOfAnyFile) {
  constexpr std::size_t kMostWhole = std::size_t{1} << 23;
  for (const std::size_t size : {kMostWhole, kMostWhole + 1, 3 * kMostWhole}) {
    std::string text(size, 'a');
    const auto hash = [&] {
      const TemporaryFile file(text);
      return TokenFile(file.path()).hash();
    };
    const uint64_t before = hash();
    EXPECT_EQ(hash(), before);
    for (const std::size_t at : {std::size_t{0}, size - 1}) {
      text[at] = 'b';
      EXPECT_NE(hash(), before) << at << " of " << size;
      text[at] = 'a';
    }
    if (size > kMostWhole) continue;
    text[size / 2 + 777] = 'b';  // each token counts
    EXPECT_NE(hash(), before);
  }
}

TEST(TokenFile, HashOfBytesSeesChangesInLargeFilesEnds) {
  const auto hash = [](const std::string& bytes) {
    const TemporaryFile file(bytes);
    return TokenFile(file.path()).hash_of_bytes();
  };
  EXPECT_NE(hash("abc"), hash("abd"));
  std::string large(std::size_t{19} << 20, 'a');
  const uint64_t before = hash(large);
  EXPECT_EQ(hash(large), before);
  large.back() = 'b';
  EXPECT_NE(hash(large), before);
  large.back() = 'a';
  large[5 << 20] = 'b';  // in a sample: they are less than 76 KiB apart
  EXPECT_NE(hash(large), before);
}

}  // namespace
}  // namespace timepipe
