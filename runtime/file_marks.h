#pragma once

#include <cstddef>
#include <string_view>

namespace timepipe {

// Tables of runtime/file_kind.cc: formats that Timepipe doesn't read, by their
// bytes and by the ends of their names.

// A format with fixed bytes at a fixed place. Marks below 4 bytes don't count
// in a .bin, whose tokens may be any; printable ones below 6 not where all may
// be a text.
struct FileMark {
  std::size_t at;
  std::string_view bytes;
  const char* what;
  const char* unpack;  // "" if no command writes the contents
  const char* advice;
};

// The end of a name, lower case, and what such a file begins as.
struct NameMark {
  std::string_view end;
  const char* what;
  const char* advice;
};

// clang-format off
inline constexpr const char* kFetch = "fetch it again";
inline constexpr const char* kJsonFirst = "write its column of texts as JSON lines";
inline constexpr const char* kParquet =
    "python3 -c \"import pandas, sys; pandas.read_parquet(sys.argv[1]).to_json(sys.argv[1] + '.jsonl', orient='records', lines=True)\" FILE writes JSON lines";
inline constexpr const char* kArrow =
    "python3 -c \"import datasets, sys; datasets.Dataset.from_file(sys.argv[1]).to_json(sys.argv[1] + '.jsonl')\" FILE writes JSON lines";
inline constexpr const char* kUntar = "tar -xf FILE, then give the files that come out";
inline constexpr const char* kTakeText = "take the text out first";
inline constexpr const char* kTorch =
    "torch.load reads it: save tokens with numpy.save, weights with safetensors.torch.save_file";
inline constexpr const char* kMegatron =
    "save the tokens with numpy.save, or prepare the texts with timepipe data prepare";

using namespace std::string_view_literals;  // NUL in literals

inline constexpr FileMark kFileMarks[] = {
    // Compressed.
    {0, "\x28\xb5\x2f\xfd"sv, "a zstd file", "zstd -dc", ""},
    {1, "\x2a\x4d\x18"sv, "a zstd or lz4 file", "zstd -dc", ""},
    {0, "\x37\xa4\x30\xec"sv, "a dictionary of zstd", "", ""},
    {0, "\xfd" "7zXZ\0"sv, "an xz file", "xz -dc", ""},
    {0, "\x5d\0\0"sv, "an lzma file", "xz -dc", ""},
    {4, "1AY&SY"sv, "a bzip2 file", "bzip2 -dc", ""},
    {4, "\x17\x72\x45\x38\x50\x90"sv, "a bzip2 file", "bzip2 -dc", ""},
    {0, "\x04\x22\x4d\x18"sv, "an lz4 file", "lz4 -dc", ""},
    {0, "\x02\x21\x4c\x18"sv, "an lz4 file", "lz4 -dc", ""},
    {0, "LZIP\x01"sv, "an lzip file", "lzip -dc", ""},
    {0, "\x89LZO\0"sv, "an lzop file", "lzop -dc", ""},
    {0, "\x1f\x9d"sv, "a file of compress", "gzip -dc", ""},
    {0, "\xff\x06\0\0sNaPpY"sv, "a snappy file", "", "unpack it first"},
    // Archives.
    {257, "ustar"sv, "a tar archive", "", kUntar},
    {0, "7z\xbc\xaf\x27\x1c"sv, "a 7z archive", "7z x -so", ""},
    {0, "Rar!\x1a\x07"sv, "a rar archive", "unrar p -inul", ""},
    {0, "!<arch>\n"sv, "an ar archive", "", "unpack it first"},
    {0, "MSCF\0"sv, "a cabinet archive", "", "unpack it first"},
    {0, "hsqs"sv, "a squashfs image", "", "unpack it first"},
    {0, "WARC/1."sv, "a web archive (WARC)", "", kTakeText},
    // Tables and records.
    {0, "PAR1"sv, "a parquet file", "", kParquet},
    {0, "PARE"sv, "an encrypted parquet file", "", "decrypt it first"},
    {0, "ARROW1\0\0"sv, "an arrow file", "", kArrow},
    {0, "FEA1"sv, "a feather file", "", kJsonFirst},
    {0, "ORC"sv, "an orc file", "", kJsonFirst},
    {0, "Obj\x01"sv, "an avro file", "avro-tools tojson", ""},
    {0, "\x89HDF\r\n\x1a\n"sv, "an HDF5 file", "", "save its tokens with numpy.save"},
    {0, "CDF\x01"sv, "a netCDF file", "", ""},
    {0, "MATLAB 5.0 MAT-file"sv, "a MATLAB file", "", ""},
    {0, "SEQ\x06"sv, "a sequence file of Hadoop", "", kTakeText},
    {16, "\xde\xc0\xef\xbe"sv, "an LMDB database", "", kJsonFirst},
    {0, "SQLite format 3\0"sv, "an SQLite database", "", "sqlite3 FILE -cmd '.mode json' writes tables as JSON"},
    {8, "DUCK"sv, "a DuckDB database", "", kJsonFirst},
    // Documents, images, sound.
    {0, "%PDF-"sv, "a PDF", "", "pdftotext FILE takes the text out"},
    {0, "{\\rtf"sv, "an RTF document", "", kTakeText},
    {0, "%!PS-Adobe"sv, "a PostScript file", "", "ps2ascii FILE takes the text out"},
    {0, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"sv, "an old Office document", "", kTakeText},
    {0, "AT&TFORM"sv, "a DjVu document", "", kTakeText},
    {0, "\x89PNG"sv, "a PNG image", "", ""},
    {0, "\xff\xd8\xff"sv, "a JPEG image", "", ""},
    {0, "GIF87a"sv, "a GIF image", "", ""},
    {0, "GIF89a"sv, "a GIF image", "", ""},
    {0, "II*\0"sv, "a TIFF image", "", ""},
    {0, "MM\0*"sv, "a TIFF image", "", ""},
    {0, "RIFF"sv, "a RIFF file (sound, video, image)", "", ""},
    {4, "ftyp"sv, "an MP4 file", "", ""},
    {0, "\x1a\x45\xdf\xa3"sv, "a Matroska file", "", ""},
    {0, "OggS\0"sv, "an Ogg file", "", ""},
    {0, "fLaC\0"sv, "a FLAC file", "", ""},
    {0, "ID3"sv, "an MP3 file", "", ""},
    // Programs and models.
    {0, "\x7f" "ELF"sv, "a program (ELF)", "", ""},
    {0, "\xcf\xfa\xed\xfe"sv, "a program (Mach-O)", "", ""},
    {0, "\xca\xfe\xba\xbe"sv, "a program (Mach-O or Java)", "", ""},
    {0, "\0asm"sv, "a program (WebAssembly)", "", ""},
    {0, "GGUF"sv, "a GGUF model of llama.cpp", "", ""},
    {0, "lmgg"sv, "a GGML model of llama.cpp", "", ""},
    {0, "tjgg"sv, "a GGML model of llama.cpp", "", ""},
    {0, "MMIDIDX\0\0"sv, "the index of a Megatron file", "", kMegatron},
    {0, "TNTIDX\0\0"sv, "the index of a fairseq file", "", kMegatron},
    // What stands for a file.
    {0, "version https://git-lfs.github.com/spec/"sv, "a pointer of Git LFS, not the file itself", "", "git lfs pull fetches the file"},
    {0, "version https://hawser.github.com/spec/"sv, "a pointer of Git LFS, not the file itself", "", "git lfs pull fetches the file"},
    {0, "# xet version"sv, "a pointer of Xet, not the file itself", "", kFetch},
    {0, "/annex/objects/"sv, "a pointer of git-annex, not the file itself", "", "git annex get FILE"},
    {0, "../../blobs/"sv, "the text of a link, not the file itself", "", kFetch},
};

inline constexpr NameMark kNameMarks[] = {
    {".gz", "a gzip file", ""}, {".tgz", "a gzip file", ""},
    {".zst", "a zstd file", ""}, {".zstd", "a zstd file", ""},
    {".xz", "an xz file", ""}, {".lzma", "an lzma file", ""},
    {".bz2", "a bzip2 file", ""}, {".lz4", "an lz4 file", ""},
    {".lz", "an lzip file", ""}, {".lzo", "an lzop file", ""},
    {".sz", "a snappy file", ""}, {".snappy", "a snappy file", ""},
    {".br", "a brotli file", "brotli -dc FILE > UNPACKED"},
    {".zz", "a zlib file", ""}, {".zlib", "a zlib file", ""},
    {".tar", "a tar archive", ""}, {".zip", "a zip archive", ""},
    {".7z", "a 7z archive", ""}, {".rar", "a rar archive", ""},
    {".npz", "an .npz archive", ""},
    {".pt", "a file of torch.save", ""}, {".pth", "a file of torch.save", ""},
    {".ckpt", "a file of torch.save", ""},
    {".pkl", "a pickle", ""}, {".pickle", "a pickle", ""},
    {".joblib", "a pickle of joblib", ""},
    {".parquet", "a parquet file", ""}, {".pq", "a parquet file", ""},
    {".arrow", "an arrow file", ""}, {".feather", "a feather file", ""},
    {".orc", "an orc file", ""}, {".avro", "an avro file", ""},
    {".h5", "an HDF5 file", ""}, {".hdf5", "an HDF5 file", ""},
    {".mdb", "an LMDB database", ""},
    {".tfrecord", "a TFRecord file", kJsonFirst},
    {".tfrecords", "a TFRecord file", kJsonFirst},
    {".mds", "a shard of MosaicML's streaming data", kJsonFirst},
    {".idx", "an index of tokens", kMegatron},
    {".ds", "tokens of datatrove", "they have no header: name the file .bin, and set data.token_type"},
    {".dvc", "a pointer of DVC, not the file itself", "dvc pull fetches the file"},
    {".gguf", "a GGUF model of llama.cpp", ""}, {".onnx", "an ONNX model", ""},
    {".pdf", "a PDF", ""}, {".docx", "an Office document", kTakeText},
    {".epub", "an EPUB book", kTakeText},
    {".png", "a PNG image", ""}, {".jpg", "a JPEG image", ""}, {".jpeg", "a JPEG image", ""},
    {".part", "a file that isn't finished", kFetch},
    {".crdownload", "a download that isn't finished", kFetch},
    {".incomplete", "a download that isn't finished", kFetch},
    {".aria2", "a download that isn't finished", kFetch},
};

// Ends of names of JSON lines.
inline constexpr std::string_view kJsonEnds[] = {".jsonl", ".json", ".ndjson", ".jsonlines", ".jl"};
// Ends of names of texts of marks: HTML is their text.
inline constexpr std::string_view kHtmlEnds[] = {".html", ".htm", ".xhtml", ".shtml"};

// First int32 of llm.c's files.
struct LlmcMagic {
  int magic;
  const char* what;  // null: tokens
};
inline constexpr LlmcMagic kLlmcMagics[] = {
    {20240520, nullptr}, {20240801, nullptr},
    {20240522, "an evaluation file of llm.c (questions with answers)"},
    {20240326, "a model of llm.c"}, {20240803, "a model of llm.c"},
    {20240327, "a debugging state of llm.c"}, {20240328, "a tokenizer of llm.c"},
    {20240527, "an optimizer state of llm.c"},
};

// Servers' answers in place of a file that aren't HTML: all of a small file, or
// its start.
inline constexpr std::string_view kErrorTexts[] = {
    "Entry not found", "Repository not found", "File not found",
    "Invalid username or password.", "Invalid credentials in Authorization header",
    "404: Not Found", "404 Not Found", "404 page not found", "Not Found",
    "403 Forbidden", "Forbidden", "Unauthorized", "Access Denied",
    "Bad Gateway", "Internal Server Error", "Service Unavailable",
    "Too Many Requests", "Rate limit exceeded"};
inline constexpr std::string_view kErrorStarts[] = {
    "Access to model ", "Access to dataset ", "Cannot access gated repo"};
// clang-format on

}  // namespace timepipe
