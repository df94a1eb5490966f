#include "runtime/file_kind.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "runtime/error.h"
#include "tests/support/temporary_file.h"
#include "tests/support/throws.h"

namespace timepipe {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;
using testing::TemporaryFile;
using testing::throws;

using namespace std::string_literals;

FileContents contents(const std::string& name, const std::string& bytes) {
  return file_contents(name, std::as_bytes(std::span(bytes)));
}

const std::string kNuls(600, '\0');

std::string int32(int32_t value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

std::string zip(const std::string& first) {
  const auto size = static_cast<char>(first.size());
  return "PK\x03\x04"s + std::string(22, '\0') + size + "\0\0\0"s + first +
         "contents";
}

struct Case {
  const char* name;
  std::string bytes;
  FileKind kind;
  const char* what;
  const char* unpack = "";
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

std::vector<Case> read_kinds() {
  const std::string header = R"({"tokens":{"dtype":"U8"}})";
  const std::string safetensors = int32(25) + int32(0) + header;
  const std::string object = "{\"text\": \"a\"}\n";
  const std::string model = "\x0a\x0e\x0a\x05<unk>\x15\0\0\0\0\x18\x02"s;
  return {
      {"book.txt", "In the beginning\n", FileKind::kText, "a text"},
      {"BOOK", "\x1b[1mbold\f", FileKind::kText, "a text"},
      {"latin.txt", "caf\xe9", FileKind::kText, "a text"},
      {"enwik8", "<mediawiki xmlns=\"x\">", FileKind::kText, "a text"},
      {"a.html", "<!DOCTYPE html><p>", FileKind::kText, "a text"},
      {"notes.txt", "ORC armies", FileKind::kText, "a text"},
      {"notes.txt", "BM 25 is a score", FileKind::kText, "a text"},
      {"notes.txt", "{curly} braces", FileKind::kText, "a text"},
      {"notes.txt", "[Chapter 1]\n", FileKind::kText, "a text"},
      {"code.txt", "{\n \"a\": 1\n}\n{\n", FileKind::kText, "a text"},
      {"a.jsonl", "{\"text\": \"a\"}\n", FileKind::kJsonLines, "JSON lines"},
      {"a.JSONL", "{\"text\": \"a\"}\n", FileKind::kJsonLines, "JSON lines"},
      {"a.json", "{\"text\": \"a\"}", FileKind::kJsonLines, "JSON lines"},
      {"a.ndjson", "\n{}\r\n", FileKind::kJsonLines, "JSON lines"},
      {"a.jsonlines", "{\"a\"", FileKind::kJsonLines, "JSON lines"},
      {"a.jsonl", "not JSON", FileKind::kJsonLines, "JSON lines"},
      {"part-00001", "{\"a\": \"}\\\"\"}\n{", FileKind::kJsonLines, "JSON"},
      {"a.txt", "\xef\xbb\xbf{\"a\": 1}", FileKind::kJsonLines, "JSON lines"},
      {"long.txt", "{\"a\": \"" + std::string(1 << 20, 'b'),
       FileKind::kJsonLines, "JSON lines"},
      // Torn by a loss of power.
      {"a.jsonl", object + kNuls + "\n" + object, FileKind::kJsonLines, "JSON"},
      {"part-00001", object + kNuls + "\n" + object, FileKind::kJsonLines,
       "JSON lines"},
      {"part-00001", kNuls + "\n" + object, FileKind::kJsonLines, "JSON lines"},
      {"part-00001", "{\"text\": \"" + kNuls + object + object,
       FileKind::kJsonLines, "JSON lines"},
      {"a.jsonl", kNuls, FileKind::kJsonLines, "JSON lines"},
      {"a.safetensors", safetensors, FileKind::kSafetensors, "a safetensors"},
      {"A.SAFETENSORS", safetensors, FileKind::kSafetensors, "a safetensors"},
      {"tokens", safetensors, FileKind::kSafetensors, "a safetensors"},
      {"cut.safetensors", "\x01\x02"s, FileKind::kSafetensors, "a safetensors"},
      {"a.npy", "\x93NUMPY\x01\0"s, FileKind::kNpy, "an .npy file"},
      {"A.NPY", "\x93NUMPY\x01\0"s, FileKind::kNpy, "an .npy file"},
      {"a.bin", int32(20240520), FileKind::kTokenBin, "tokens of llm.c"},
      {"a.dat", int32(20240801), FileKind::kTokenBin, "tokens of llm.c"},
      {"a.bin", "\xff\xfe\x01\x00"s, FileKind::kTokenBin, "a .bin"},
      {"A.BIN", "\xff\xd8\xff\x00"s, FileKind::kTokenBin, "a .bin"},
      {"a.bin", int32(20250101) + std::string(2000, 'a'), FileKind::kTokenBin,
       "a .bin"},
      {"a.bin", "\x80\x02\x63\x01", FileKind::kTokenBin, "a .bin"},
      {"a.model", model, FileKind::kSentencepiece, "a sentencepiece model"},
  };
}

std::vector<Case> compressed_and_archived() {
  const FileKind other = FileKind::kOther;
  const std::string ustar = "x" + std::string(256, '\0') + "ustar\0"s;
  return {
      {"a.gz", "\x1f\x8b\x08\0\0\0\0\0"s, other, "a gzip", "gzip -dc"},
      {"a.txt", "\x1f\x8b\x08\0\0\0\0\0"s, other, "a gzip", "gzip -dc"},
      {"a.bin", "\x1f\x8b\x08\0\0\0\0\0"s, other, "a gzip", "gzip -dc"},
      {"a.zst", "\x28\xb5\x2f\xfd" + kNuls, other, "a zstd", "zstd -dc"},
      {"a.zst", "\x50\x2a\x4d\x18" + kNuls, other, "zstd", "zstd -dc"},
      {"a.xz", "\xfd\x37zXZ\0"s, other, "an xz file", "xz -dc"},
      {"a.lzma", "\x5d\0\0\x80\0"s, other, "an lzma file", "xz -dc"},
      {"a.bz2", "BZh91AY&SYabc", other, "a bzip2 file", "bzip2 -dc"},
      {"a.lz4", "\x04\x22\x4d\x18", other, "an lz4 file", "lz4 -dc"},
      {"a.lz", "LZIP\x01", other, "an lzip file", "lzip -dc"},
      {"a.Z", "\x1f\x9d\x90", other, "a file of compress", "gzip -dc"},
      {"a.sz", "\xff\x06\0\0sNaPpY"s, other, "a snappy file"},
      {"a.br", "\x8b\x02\x80", other, "by its name a brotli file"},
      {"a.gz", "plain", other, "by its name a gzip file, but it begins"},
      {"a.zip", zip("a.txt"), other, "a zip archive", "unzip -p"},
      {"a.npz", zip("arr_0.npy"), other, "an .npz archive"},
      {"a.pt", zip("archive/data.pkl"), other, "a file of torch.save"},
      {"pytorch_model.bin", zip("archive/data.pkl"), other, "torch.save"},
      {"a.docx", zip("[Content_Types].xml"), other, "an Office document"},
      {"a.tar", ustar, other, "a tar archive"},
      {"a.tar.gz", "\x1f\x8b\x08\0\0"s, other, "a compressed tar archive"},
      {"a.TGZ", "\x1f\x8b\x08\0\0"s, other, "a compressed tar archive"},
      {"a.7z", "7z\xbc\xaf\x27\x1c", other, "a 7z archive", "7z x -so"},
      {"a.rar", "Rar!\x1a\x07", other, "a rar archive", "unrar p -inul"},
      {"a.warc", "WARC/1.0\r\n", other, "a web archive"},
  };
}

std::vector<Case> pickles_tables_and_programs() {
  const FileKind other = FileKind::kOther;
  const std::string torch = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20";
  return {
      {"a.pkl", "\x80\x04\x95\x10\0\0\0\0\0\0\0"s, other, "a pickle"},
      {"a", "\x80\x02}q\0."s, other, "a pickle"},
      {"a.bin", torch, other, "a pickle"},
      {"a.pth", "abc", other, "by its name a file of torch.save"},
      {"a.parquet", "PAR1" + kNuls, other, "a parquet file"},
      {"a", "PAR1" + kNuls, other, "a parquet file"},
      {"a.parquet", "text", other, "by its name a parquet file, but"},
      {"a.arrow", "ARROW1\0\0"s, other, "an arrow file"},
      {"a.feather", "FEA1" + kNuls, other, "a feather file"},
      {"a", "\xff\xff\xff\xff\x10\0\0\0\x10"s, other, "an arrow stream"},
      {"a.orc", "ORC\x01\x02", other, "an orc file"},
      {"a.avro", "Obj\x01\x02", other, "an avro file", "avro-tools tojson"},
      {"a.h5", "\x89HDF\r\n\x1a\n", other, "an HDF5 file"},
      {"a.db", "SQLite format 3\0"s, other, "an SQLite database"},
      {"a.mds", "\x01\0\0\0"s, other, "by its name a shard of MosaicML"},
      {"a.ds", "\x01\0\0\0"s, other, "by its name tokens of datatrove"},
      {"a.pdf", "%PDF-1.7\n%", other, "a PDF"},
      {"a", "%PDF-1.7\n%", other, "a PDF"},
      {"a.rtf", "{\\rtf1 a}", other, "an RTF document"},
      {"a.png", "\x89PNG\r\n\x1a\n", other, "a PNG image"},
      {"a.jpg", "\xff\xd8\xff\xe0", other, "a JPEG image"},
      {"a", "\x7f\x45LF\x02", other, "a program (ELF)"},
      {"a.gguf", "GGUF\x03\0"s, other, "a GGUF model"},
      {"a.idx", "MMIDIDX\0\0"s, other, "the index of a Megatron file"},
      {"a.bin", int32(20240522), other, "an evaluation file of llm.c"},
      {"a.bin", int32(20240326), other, "a model of llm.c"},
      {"a.bin", int32(20240803), other, "a model of llm.c"},
      {"a.bin", int32(20250101) + kNuls + kNuls, other,
       "a file of llm.c without tokens (its header begins with 20250101)"},
  };
}

std::vector<Case> texts_that_are_none() {
  const FileKind other = FileKind::kOther;
  const std::string pointer =
      "version https://git-lfs.github.com/spec/v1\noid sha256:0\n";
  return {
      {"a.safetensors", pointer, other, "a pointer of Git LFS"},
      {"a.bin", pointer, other, "a pointer of Git LFS"},
      {"a.txt", pointer, other, "a pointer of Git LFS"},
      {"a", "\n<!doctype HTML>", other, "an HTML page (begins with '<!d"},
      {"a.safetensors", "<html><body>", other, "an HTML page"},
      {"a.bin", "<?xml version=\"1\"?>\n<html>", other, "an HTML page"},
      {"a", "<?xml version=\"1\"?><Error><Code>", other, "a server's answer"},
      {"a.txt", "Entry not found\n", other, "a server's answer"},
      {"a.safetensors", "{\"error\": 1}", other, "no safetensors file (begins"},
      {"a.npy", "raw tokens", other, "not written by numpy.save"},
      {"a.bin", std::string(64, 'a'), other, "a text (begins with 'aaa"},
      {"a.txt",
       "\xff\xfe"
       "a\0"s,
       other, "a text in UTF-16", "iconv -f UTF-16 -t UTF-8"},
      {"a.json", "\xff\xfe\0\0{\0\0\0"s, other, "a text in UTF-32",
       "iconv -f UTF-32 -t UTF-8"},
      {"a.txt", "a\0b\0c\0d\0e\0f\0g\0h\0"s, other, "a text in UTF-16LE",
       "iconv -f UTF-16LE -t UTF-8"},
      {"a.txt", "\0a\0b\0c\0d\0e\0f\0g\0h"s, other, "a text in UTF-16BE",
       "iconv -f UTF-16BE -t UTF-8"},
      {"a.txt", "\0\0\0a\0\0\0b\0\0\0c\0\0\0d"s, other, "a text in UTF-32BE",
       "iconv -f UTF-32BE -t UTF-8"},
      {"a.txt", "text\0"s, FileKind::kBinary,
       "binary data, not a text (byte 4 is 0)"},
      {"a.dat", "\x01\0\x02\0"s, FileKind::kBinary, "binary data"},
      {"a.dat", kNuls, FileKind::kBinary, "binary data"},
      {"a.txt", "text\n" + kNuls + "\ntext\n", FileKind::kBinary,
       "binary data"},
      {"a.jsonl", "{\"a\": 1}\n\x01\0\n"s, FileKind::kBinary, "binary data"},
      // NULs at some places more than at others, by chance.
      {"a.txt", std::string(1021, 'a') + std::string(3075, '\0'),
       FileKind::kBinary, "binary data"},
      {"a.json", "[{\"text\": 1}]", FileKind::kJson, "a JSON array",
       "jq -c '.[]'"},
      {"a.jsonl", "{\n \"a\": 1\n}", FileKind::kJson, "a JSON object over",
       "jq -c ."},
      {"a.txt", "{\n \"a\": 1\n}\n", FileKind::kJson, "a JSON object over",
       "jq -c ."},
      {"tokenizer.model", "IQ== 0\nIg== 1\n", other, "a vocabulary of tik"},
  };
}

class FileKindOf : public ::testing::TestWithParam<Case> {};

TEST_P(FileKindOf, NameAndFirstBytes) {
  const Case& c = GetParam();
  const FileContents found = contents("folder.gz/"s + c.name, c.bytes);
  EXPECT_EQ(found.kind, c.kind) << found.what;
  EXPECT_THAT(found.what, HasSubstr(c.what));
  EXPECT_EQ(found.unpack, c.unpack);
}

INSTANTIATE_TEST_SUITE_P(Read, FileKindOf, ::testing::ValuesIn(read_kinds()));
INSTANTIATE_TEST_SUITE_P(Compressed, FileKindOf,
                         ::testing::ValuesIn(compressed_and_archived()));
INSTANTIATE_TEST_SUITE_P(Binary, FileKindOf,
                         ::testing::ValuesIn(pickles_tables_and_programs()));
INSTANTIATE_TEST_SUITE_P(Texts, FileKindOf,
                         ::testing::ValuesIn(texts_that_are_none()));

std::string refusal(const std::string& name, const std::string& bytes,
                    bool is_data) {
  try {
    throw_other_kind(name, contents(name, bytes), "a text", is_data);
  } catch (const InvalidArgument& error) {
    return error.what();
  }
}

TEST(FileKind, SaysWhatToType) {
  const std::string zstd = "\x28\xb5\x2f\xfd" + kNuls;
  EXPECT_EQ(refusal("my corpus.jsonl.zst", zstd, true),
            "my corpus.jsonl.zst: a zstd file, expected a text: zstd -dc 'my "
            "corpus.jsonl.zst' | timepipe data prepare - --field text --out "
            "'my corpus.jsonl.zst.safetensors'");
  EXPECT_EQ(refusal("a.zst", zstd, false),
            "a.zst: a zstd file, expected a text: zstd -dc a.zst > UNPACKED");
  EXPECT_EQ(refusal("a.json", "[{}]", true),
            "a.json: a JSON array, expected a text: jq -c "
            "'.[]' a.json | timepipe data prepare - --field text --out "
            "a.json.safetensors");
  EXPECT_EQ(
      refusal("a.pdf", "%PDF-1", true),
      "a.pdf: a PDF, expected a text: pdftotext a.pdf takes the text out");
  EXPECT_EQ(refusal("my book.pdf", "%PDF-1", true),
            "my book.pdf: a PDF, expected a text: pdftotext 'my book.pdf' "
            "takes the text out");
  for (const auto& bytes : {"PAR1" + kNuls, "ARROW1\0\0"s, zip("a.npy")}) {
    EXPECT_THAT(refusal("John's a", bytes, true),
                HasSubstr(")\" 'John'\\''s a' writes "));
  }
  EXPECT_THAT(refusal("my lines", "{\"text\": \"a\"}\n", true),
              HasSubstr("prepare 'my lines' --field text --out "
                        "'my lines'.safetensors"));
}

TEST(FileKind, PlainTextHasNoMarkAndIsOne) {
  EXPECT_EQ(contents("a",
                     "\xef\xbb\xbf"
                     "a")
                .bom_bytes,
            3);
  EXPECT_EQ(contents("a", "\xef\xbb").bom_bytes, 0);
  for (const std::string text : {"a\xef\xbb\xbf", "\xef\xbb", ""}) {
    const TemporaryFile marked("\xef\xbb\xbf" + text), plain(text);
    for (const TemporaryFile* file : {&marked, &plain}) {
      const InputFile input(file->path());
      const FileBytes bytes = text_of(input);
      EXPECT_EQ(bytes.read_text(0, bytes.size()), text);
    }
  }
  EXPECT_EQ(read_plain_text(TemporaryFile("\xef\xbb\xbf{\n1").path()), "{\n1");
  EXPECT_EQ(read_plain_text(TemporaryFile("").path()), "");
  EXPECT_EQ(read_plain_text(TemporaryFile("{\n\"a\": 1\n}").path()),
            "{\n\"a\": 1\n}");
  const TemporaryFile pointer("version https://git-lfs.github.com/spec/v1\n");
  EXPECT_THAT([&] { read_plain_text(pointer.path()); },
              throws<InvalidArgument>(
                  pointer.path() +
                  ": a pointer of Git LFS, not the file itself, expected a "
                  "text: git lfs pull fetches the file"));
}

}  // namespace
}  // namespace timepipe
