#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "runtime/safetensors.h"
#include "runtime/token_file.h"
#include "tests/support/temporary_file.h"

namespace timepipe::testing {

// Bytes of token files, and what is read from them.

inline ConstBytes as_bytes(const std::string& text) {
  return std::as_bytes(std::span(text));
}

inline std::string npy(int version, const std::string& header,
                       const std::string& data) {
  std::string length(version == 1 ? 2 : 4, '\0');
  for (std::size_t i = 0; i < length.size(); ++i) {
    length[i] = static_cast<char>(header.size() >> (8 * i));
  }
  return "\x93NUMPY" + std::string(1, static_cast<char>(version)) +
         std::string(1, '\0') + length + header + data;
}

inline std::string npy_dictionary(const std::string& descr,
                                  const std::string& shape,
                                  const std::string& fortran_order = "False") {
  return "{'descr': '" + descr + "', 'fortran_order': " + fortran_order +
         ", 'shape': " + shape + ", }\n";
}

inline std::string safetensors(const std::string& dtype,
                               const std::string& tokens, int64_t count,
                               const std::vector<int64_t>& documents) {
  const std::string starts = stored_bytes(documents);
  const std::vector<SafetensorsItem> items = {
      {"tokens", dtype, {count}, as_bytes(tokens)},
      {"documents",
       "I64",
       {static_cast<int64_t>(documents.size())},
       as_bytes(starts)}};
  return safetensors_header(items, {{"tokenizer", "bytes"}}) + tokens + starts;
}

inline std::string tensors(const std::vector<SafetensorsItem>& items) {
  std::string bytes = safetensors_header(items);
  for (const SafetensorsItem& item : items) {
    bytes.append(reinterpret_cast<const char*>(item.bytes.data()),
                 item.bytes.size());
  }
  return bytes;
}

inline std::vector<int64_t> read(const TokenFile& file, int64_t first,
                                 int64_t count,
                                 int64_t vocab_size = int64_t{1} << 40) {
  std::vector<int64_t> ids(count, -1);
  file.read(first, ids, vocab_size);
  return ids;
}

}  // namespace timepipe::testing
