#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>

#include "runtime/error.h"
#include "runtime/tensor.h"

// What the fuzz targets share. A reader may refuse bytes with InvalidArgument
// or IoError; anything else that it throws is a finding.

namespace timepipe::fuzz {

// Returns whether read() took the input.
template <class Read>
bool accepts(Read&& read) {
  try {
    read();
    return true;
  } catch (const InvalidArgument&) {
  } catch (const IoError&) {
  }
  return false;
}

// A promise of the reader that libFuzzer is to report when broken.
inline void must(bool holds, const char* promise) {
  if (holds) return;
  std::fprintf(stderr, "broken promise: %s\n", promise);
  std::abort();
}

inline ConstBytes as_bytes(const uint8_t* data, std::size_t size) {
  return std::as_bytes(std::span(data, size));
}

inline std::string as_text(const uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// Writing what was read, and reading that again, must end with the same text.
template <class Read, class Write>
void text_is_stable(const std::string& input, Read&& read, Write&& write) {
  std::string text;
  if (!accepts([&] { text = write(read(input)); })) return;
  must(write(read(text)) == text, "what was written is read as it was");
}

}  // namespace timepipe::fuzz
