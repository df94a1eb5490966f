#pragma once

// What the fronts of all kernels check; each throws InvalidArgument.

#include <string>

#include "kernels/segment.h"
#include "runtime/tensor.h"

namespace timepipe {

inline void require_rank(const char* name, const Tensor& tensor, int64_t rank) {
  require(tensor.rank() == rank, name, ": shape ", tensor.shape(),
          ", expected ", rank, " dimensions");
}

inline void require_dtype(const char* name, const Tensor& tensor, DType dtype) {
  require(tensor.dtype() == dtype, name, ": dtype ", name_of(tensor.dtype()),
          ", expected ", name_of(dtype));
}

inline void require_floating(const char* name, const Tensor& tensor,
                             bool or_bf16 = false) {
  const DType dtype = tensor.dtype();
  require(dtype == DType::kF32 || dtype == DType::kF64 ||
              (or_bf16 && dtype == DType::kBF16),
          name, ": dtype ", name_of(dtype), ", expected ",
          (or_bf16 ? "f32, f64 or bf16" : "f32 or f64"));
}

// `shape`, and the element type of `like`.
inline void require_tensor(const char* name, const Tensor& tensor,
                           const Tensor& like, const Shape& shape) {
  require_same_dtype(name, tensor, like);
  require_shape(name, tensor, shape);
}

// `shape`, and the element type that goes beside `like`: f32 if that is bf16.
inline void require_wide(const char* name, const Tensor& tensor,
                         const Tensor& like, const Shape& shape) {
  require_dtype(name, tensor, wide(like.dtype()));
  require_shape(name, tensor, shape);
}

// `shape`, and the element type of `like` or, beside f32, bf16.
inline void require_stored(const char* name, const Tensor& tensor,
                           const Tensor& like, const Shape& shape) {
  require(wide(tensor.dtype()) == like.dtype(), name, ": dtype ",
          name_of(tensor.dtype()), ", expected ", name_of(like.dtype()),
          (like.dtype() == DType::kF32 ? " or bf16" : ""));
  require_shape(name, tensor, shape);
}

// A floating-point [rows, columns].
inline void require_matrix(const char* name, const Tensor& tensor,
                           bool or_bf16 = false) {
  require_floating(name, tensor, or_bf16);
  require_rank(name, tensor, 2);
}

// Members whose rows don't overlap.
inline void require_members(const ChunkRows& rows) {
  require(rows.members >= 1, "rows.members: ", rows.members,
          ", expected 1 or more");
  require(rows.tokens >= 0 && (rows.members == 1 || rows.stride >= rows.tokens),
          "rows.stride: ", rows.stride, ", expected ", rows.tokens, " or more");
}

}  // namespace timepipe
