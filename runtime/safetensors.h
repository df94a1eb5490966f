#pragma once

#include <map>
#include <string>
#include <vector>

#include "runtime/context.h"

namespace timepipe {

// A safetensors file in memory: 8 bytes little-endian header length, JSON
// header {name: {dtype, shape, data_offsets}}, data. Reads F32, F64, I64.
class SafetensorsFile {
 public:
  // Throws IoError (path) if unreadable, InvalidArgument (path, what, where) if
  // malformed: every offset and size is checked before it is used.
  static SafetensorsFile read(const std::string& path);

  bool contains(const std::string& name) const;
  std::vector<std::string> names() const;  // sorted
  // A view of the file's memory. Throws InvalidArgument naming what is missing.
  Tensor get(const std::string& name) const;

 private:
  std::string path_;
  std::map<std::string, Tensor> tensors_;
};

}  // namespace timepipe
