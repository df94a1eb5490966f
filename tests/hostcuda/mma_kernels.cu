#include "kernels/cuda/mma.h"
#include "tests/hostcuda/mma_kernels.cuh"

namespace timepipe::cuda {

__global__ void multiply_bf16(float* C, const bf16* A, const bf16* B) {
  const int g = static_cast<int>(threadIdx.x) / 4;
  const int t = static_cast<int>(threadIdx.x) % 4;
  const auto pair = [](bf16 low, bf16 high) {
    return low.bits | uint32_t{high.bits} << 16;
  };
  uint32_t a[4], b[2];
  for (int i = 0; i < 4; ++i) {
    const bf16* const first = A + 16 * (g + 8 * (i % 2)) + 2 * t + 8 * (i / 2);
    a[i] = pair(first[0], first[1]);
  }
  for (int i = 0; i < 2; ++i) {
    const bf16* const first = B + 8 * (2 * t + 8 * i) + g;
    b[i] = pair(first[0], first[8]);
  }
  float c[4];
  for (int i = 0; i < 4; ++i) {
    c[i] = C[8 * (g + 8 * (i / 2)) + 2 * t + i % 2];
  }
  mma_bf16(c, a, b[0], b[1]);
  for (int i = 0; i < 4; ++i) {
    C[8 * (g + 8 * (i / 2)) + 2 * t + i % 2] = c[i];
  }
}

__global__ void multiply_tf32(float* C, const float* A, const float* B) {
  const int g = static_cast<int>(threadIdx.x) / 4;
  const int t = static_cast<int>(threadIdx.x) % 4;
  uint32_t a[4];
  for (int i = 0; i < 4; ++i) {
    a[i] = __float_as_uint(A[8 * (g + 8 * (i % 2)) + t + 4 * (i / 2)]);
  }
  float c[4];
  for (int i = 0; i < 4; ++i) {
    c[i] = C[8 * (g + 8 * (i / 2)) + 2 * t + i % 2];
  }
  mma_tf32(c, a, __float_as_uint(B[8 * t + g]),
           __float_as_uint(B[8 * (t + 4) + g]));
  for (int i = 0; i < 4; ++i) {
    C[8 * (g + 8 * (i / 2)) + 2 * t + i % 2] = c[i];
  }
}

__global__ void load(uint32_t* out, const bf16* matrices, bool transposes) {
  TIMEPIPE_SHARED(bf16, rows, 32 * 8);
  for (int i = 0; i < 8; ++i) {
    rows[8 * threadIdx.x + i] = matrices[8 * threadIdx.x + i];
  }
  __syncwarp();
  uint32_t r[4];
  if (transposes) {
    ldmatrix_trans(r, rows + 8 * threadIdx.x);
  } else {
    ldmatrix(r, rows + 8 * threadIdx.x);
  }
  for (int m = 0; m < 4; ++m) out[4 * threadIdx.x + m] = r[m];
}

__global__ void copy_in_groups(unsigned char* out, const unsigned char* in,
                               bool is_there) {
  TIMEPIPE_SHARED(uint4, shared, 3);
  auto* const bytes = reinterpret_cast<unsigned char*>(shared);
  for (int i = 0; i < 3; ++i) {
    cp_async16(bytes + 16 * i, in + 16 * i, is_there);
    cp_async_commit();
  }
  cp_async_wait<1>();
  for (int i = 0; i < 48; ++i) out[i] = bytes[i];
  cp_async_wait<0>();
  for (int i = 0; i < 48; ++i) out[48 + i] = bytes[i];
}

}  // namespace timepipe::cuda
