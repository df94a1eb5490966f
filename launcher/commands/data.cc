#include "launcher/commands/data.h"

#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <limits>
#include <span>

#include "launcher/process/read_progress.h"
#include "runtime/error.h"

namespace timepipe {
namespace {

const char* name_of(StoredToken type) {
  switch (type) {
    case StoredToken::kU8:
      return "uint8";
    case StoredToken::kU16:
      return "uint16";
    case StoredToken::kU32:
      return "uint32";
    case StoredToken::kI32:
      return "int32";
    case StoredToken::kI64:
      return "int64";
  }
  return "";
}

std::string kind_of(const TokenFile& file) {
  for (const char* end : {".safetensors", ".bin", ".npy"}) {
    if (file.path().ends_with(end)) {
      return std::string(end) + ", " + name_of(file.layout().type);
    }
  }
  return "text, its bytes are the tokens";
}

// The largest id. Throws InvalidArgument naming the first one that isn't in
// [0, vocab_size).
int64_t largest_id(const TokenFile& file, int64_t vocab_size) {
  const int64_t width = bytes_of(file.layout().type);
  ReadProgress progress("data info: " + file.path(), file.num_tokens() * width,
                        "bytes");
  std::vector<int64_t> ids(std::size_t{1} << 20);
  int64_t largest = 0;
  for (int64_t first = 0; first < file.num_tokens();) {
    const int64_t count =
        std::min<int64_t>(std::ssize(ids), file.num_tokens() - first);
    const auto block = std::span(ids).first(static_cast<std::size_t>(count));
    file.read(first, block, vocab_size);
    largest = std::max(largest, *std::ranges::max_element(block));
    first += count;
    progress.at(first * width);
  }
  return largest;
}

void print_documents(const TokenLayout& layout) {
  if (layout.documents.empty()) {
    std::printf("  documents: not listed\n");
    return;
  }
  std::vector<int64_t> lengths(layout.documents.size());
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    const int64_t end =
        i + 1 < lengths.size() ? layout.documents[i + 1] : layout.count;
    lengths[i] = end - layout.documents[i];
  }
  const auto [shortest, longest] = std::ranges::minmax(lengths);
  const auto middle = lengths.begin() + (std::ssize(lengths) - 1) / 2;
  std::ranges::nth_element(lengths, middle);
  std::printf("  documents: %zu; shortest %" PRId64 ", median %" PRId64
              ", longest %" PRId64 " tokens\n",
              lengths.size(), shortest, *middle, longest);
}

void print_tokenizer(const TokenLayout& layout) {
  const auto value = [&](const char* key) -> std::string {
    const auto found = layout.metadata.find(key);
    return found == layout.metadata.end() ? "" : found->second;
  };
  const std::string name = value("tokenizer");
  if (name.empty()) return;
  std::printf("  tokenizer: %s", name.c_str());
  const std::string fingerprint = value("tokenizer_fingerprint");
  if (!fingerprint.empty() && fingerprint != name) {
    std::printf(" (%s)", fingerprint.c_str());
  }
  if (const std::string vocab = value("vocab_size"); !vocab.empty()) {
    std::printf(", vocabulary %s", vocab.c_str());
  }
  if (const std::string bos = value("bos_id"); !bos.empty()) {
    std::printf(", documents begin with %s", bos.c_str());
  }
  if (const std::string eos = value("eos_id"); !eos.empty()) {
    std::printf(", documents end with %s", eos.c_str());
  }
  std::printf("\n");
}

void print(const std::string& path, const DataInfoOptions& options) {
  const TokenFile file(path, options.raw);
  std::printf("%s: %s, %" PRId64 " tokens\n", path.c_str(),
              kind_of(file).c_str(), file.num_tokens());
  print_documents(file.layout());
  print_tokenizer(file.layout());
  if (options.sequence_length > 0) {
    // Each token predicts the next one: the last one is only a label.
    std::printf(
        "  sequences of %" PRId64 " tokens: %" PRId64 "\n",
        options.sequence_length,
        std::max<int64_t>(file.num_tokens() - 1, 0) / options.sequence_length);
  }
  std::fflush(stdout);
  const bool check = options.vocab_size > 0;
  const int64_t largest = largest_id(
      file, check ? options.vocab_size : std::numeric_limits<int64_t>::max());
  std::printf("  largest id: %" PRId64, largest);
  if (check) std::printf(", all below %" PRId64, options.vocab_size);
  std::printf("\n");
}

}  // namespace

int cmd_data_prepare(const PrepareOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  const int64_t total = input_bytes(options.inputs);
  Prepared prepared;
  {
    ReadProgress progress("data prepare", total, "bytes");
    prepared =
        prepare_tokens(options, [&](int64_t done) { progress.at(done); });
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
          .count();
  std::printf("%s: %" PRId64 " tokens, %s, of %" PRId64
              " document(s); tokenizer %s, vocabulary %" PRId64
              "; %.1f MiB read in %.1f s\n",
              options.out.c_str(), prepared.tokens, name_of(prepared.type),
              prepared.documents, prepared.tokenizer.c_str(),
              prepared.vocab_size, static_cast<double>(total) / (1 << 20),
              seconds);
  if (prepared.left_out > 0) {
    std::printf("left out: %" PRId64 " document(s) without a token\n",
                prepared.left_out);
  }
  return 0;
}

int cmd_data_info(const DataInfoOptions& options) {
  for (const std::string& path : options.files) print(path, options);
  return 0;
}

}  // namespace timepipe
