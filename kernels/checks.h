#pragma once

// What the fronts of all kernels check; each throws InvalidArgument.

#include <string>

#include "kernels/segment.h"
#include "runtime/tensor.h"

namespace timepipe {

inline void require_rank(const char* name, const Tensor& tensor, int64_t rank) {
  require(tensor.rank() == rank, std::string(name) + ": shape " +
                                     to_string(tensor.shape()) + ", expected " +
                                     std::to_string(rank) + " dimensions");
}

inline void require_dtype(const char* name, const Tensor& tensor, DType dtype) {
  require(tensor.dtype() == dtype, std::string(name) + ": dtype " +
                                       name_of(tensor.dtype()) + ", expected " +
                                       name_of(dtype));
}

inline void require_floating(const char* name, const Tensor& tensor) {
  require(tensor.dtype() == DType::kF32 || tensor.dtype() == DType::kF64,
          std::string(name) + ": dtype " + name_of(tensor.dtype()) +
              ", expected f32 or f64");
}

// `shape`, and the element type of `like`.
inline void require_tensor(const char* name, const Tensor& tensor,
                           const Tensor& like, const Shape& shape) {
  require_same_dtype(name, tensor, like);
  require_shape(name, tensor, shape);
}

// A floating-point [rows, columns].
inline void require_matrix(const char* name, const Tensor& tensor) {
  require_floating(name, tensor);
  require_rank(name, tensor, 2);
}

// Members whose rows don't overlap.
inline void require_members(const ChunkRows& rows) {
  require(rows.members >= 1, "rows.members: " + std::to_string(rows.members) +
                                 ", expected 1 or more");
  require(rows.tokens >= 0 && (rows.members == 1 || rows.stride >= rows.tokens),
          "rows.stride: " + std::to_string(rows.stride) + ", expected " +
              std::to_string(rows.tokens) + " or more");
}

}  // namespace timepipe
