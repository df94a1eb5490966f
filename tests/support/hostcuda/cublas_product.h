#pragma once

#include <cstdint>

namespace hostcuda {

// How an operand's elements are read or written.
enum class Element { kF32, kTf32, kBf16, kF64 };

struct Matrix {
  const void* data;
  Element element;
  int64_t ld;      // Elements from one column to the next.
  int64_t stride;  // Elements from one matrix of the batch to the next.
  bool transposed;
};

// C = alpha op(A) op(B) + beta C for each of the batch; column-major, op(A)
// [m, k], op(B) [k, n], C [m, n]. C isn't read when beta is 0.
struct Product {
  int64_t m, n, k, batch;
  double alpha, beta;
  Matrix a, b;
  void* c;
  Element c_element;
  int64_t ldc, stride_c;
};

// The sums are those of float64 when A is, else of float32: blocks of 256
// terms, each in order, then the blocks in order, whatever m and n are. A
// result of bf16 is rounded once.
void multiply(const Product& product);

}  // namespace hostcuda
