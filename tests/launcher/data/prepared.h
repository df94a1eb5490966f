#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "launcher/data/prepare.h"
#include "launcher/tokenizer/tokenizer.h"
#include "runtime/files.h"
#include "runtime/token_file.h"
#include "tests/launcher/commands/tiny_model.h"
#include "tests/support/temporary_file.h"

namespace timepipe::testing {

// A name for a file that is gone with this.
struct Output {
  std::string path = TemporaryFile::unused_path().string() + ".safetensors";
  ~Output() {
    std::error_code ignored;
    std::filesystem::remove(path, ignored);
  }
};

inline Prepared prepare(PrepareOptions options) {
  int64_t done = 0;
  int64_t all = 0;
  Prepared prepared =
      prepare_tokens(options, [&](int64_t bytes, int64_t total) {
        EXPECT_GT(bytes, done);
        done = bytes;
        all = total;
      });
  EXPECT_EQ(done, all);
  EXPECT_EQ(prepared.source_bytes, all);
  return prepared;
}

// The bytes of the file that `options` make, with any number of threads.
inline std::string file_of(PrepareOptions options) {
  std::string bytes;
  for (const int threads : {1, 3}) {
    const Output out;
    options.out = out.path;
    options.threads = threads;
    prepare(options);
    const std::string file = read_text(out.path);
    if (threads == 1) bytes = file;
    EXPECT_EQ(file, bytes) << threads;
    EXPECT_EQ(entries_beginning_with(out.path), 1);
  }
  return bytes;
}

// The ids of each document.
inline std::vector<std::vector<int64_t>> documents_of(
    const std::string& bytes) {
  const TemporaryFile copy(bytes, ".safetensors");
  const TokenFile file(copy.path());
  const std::vector<int64_t>& starts = file.layout().documents;
  std::vector<std::vector<int64_t>> documents(starts.size());
  for (std::size_t i = 0; i < starts.size(); ++i) {
    const int64_t end =
        i + 1 < starts.size() ? starts[i + 1] : file.num_tokens();
    documents[i].resize(static_cast<std::size_t>(end - starts[i]));
    file.read(starts[i], documents[i], 1 << 20);
  }
  return documents;
}

inline std::vector<int64_t> ids_of(Tokenizer& tokenizer,
                                   const std::string& text, bool eos) {
  std::vector<int64_t> ids = tokenizer.encode(text, "");
  if (eos) ids.push_back(*tokenizer.eos_id());
  return ids;
}

inline std::string long_text(std::size_t size) {
  std::string text;
  while (text.size() < size) {
    text += sample_text() + std::to_string(text.size());
  }
  return text;
}

inline std::string json_line(const std::string& text) {
  std::string line = R"({"id": [1, {"text": 2}], "text": ")";
  for (const char c : text) line += c == '\n' ? "\\n" : std::string(1, c);
  return line + "\"}\n";
}

}  // namespace timepipe::testing
