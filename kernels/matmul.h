#pragma once

#include "kernels/write.h"
#include "runtime/context.h"

namespace timepipe {

// Matrix products, row-major, C [M,N]:
//   kNN: C = A B,    A [M,K], B [K,N]      dx = dy W
//   kNT: C = A B^T,  A [M,K], B [N,K]      y = x W^T
//   kTN: C = A^T B,  A [K,M], B [K,N]      dW = dy^T x
enum class Form { kNN, kNT, kTN };

// Of bf16 A and B, C is f32 or, if it is overwritten, bf16; sums are in f32.
//
// f32 runs on oneDNN over tiles of C whose borders follow from the shape alone
// (K is never split, oneDNN never threads), f64 on plain tiles: the same bits
// for any number of threads. C must not alias A or B. Throws InvalidArgument
// if shapes or dtypes disagree.
void matmul(Context& ctx, Form form, const Tensor& a, const Tensor& b,
            Tensor& c, Write write = Write::kOverwrite);

}  // namespace timepipe
