#include "kernels/cuda/ttt_pass.cuh"
#include "kernels/cuda/ttt_sums.cuh"

namespace timepipe::cuda::ttt {

template <class T>
__global__ void ttt_write_sums(TttShape shape, int64_t members, int64_t places,
                               const double* sums, T* dln_w, T* dln_b,
                               T* dtok) {
  const int64_t D = shape.head_size, H = shape.heads;
  const int64_t size = head_sums_size(shape), norms = 2 * H * D;
  const int64_t n = global_thread();
  double sum = 0;
  if (n < norms) {
    const int64_t h = n / (2 * D), j = n % (2 * D);
    for (int64_t m = 0; m < members; ++m) sum += sums[(m * H + h) * size + j];
    (j < D ? dln_w : dln_b)[h * D + j % D] = static_cast<T>(sum);
  } else if (n < norms + places) {
    const auto i = static_cast<int>(n - norms);
    for (int64_t k = 0; k < members * H; ++k) {
      sum += RowSums<const double>{sums + k * size + 2 * D}[i];
    }
    dtok[i] = static_cast<T>(sum);
  }
}

template __global__ void ttt_write_sums(TttShape, int64_t, int64_t,
                                        const double*, float*, float*, float*);
template __global__ void ttt_write_sums(TttShape, int64_t, int64_t,
                                        const double*, double*, double*,
                                        double*);

}  // namespace timepipe::cuda::ttt
