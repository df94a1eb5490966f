// Rotary position embedding on a device.

#include "kernels/cuda/pack.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/rope.cuh"

namespace timepipe::cuda {

template <class T>
__global__ void rope_table_kernel(int64_t positions, int64_t D, double theta,
                                  double sign, T* table) {
  for (int64_t i = global_thread(); i < positions * (D / 2);
       i += global_threads()) {
    const int64_t position = i / (D / 2), pair = i % (D / 2);
    const double rate =
        pow(theta, -2 * static_cast<double>(pair) / static_cast<double>(D));
    const double angle = static_cast<double>(position) * rate;
    table[2 * i] = static_cast<T>(cos(angle));
    table[2 * i + 1] = static_cast<T>(sign * sin(angle));
  }
}

template <class A>
__global__ void rope_kernel(int64_t rows, int64_t heads, int64_t D,
                            int64_t mini_batch, int64_t place,
                            const Computed<A>* table, A* x) {
  using T = Computed<A>;
  const int64_t row = row_of_thread<kWarp>();
  if (row >= rows) return;
  const T* angles = table + (place + row) % mini_batch * D;
  A* pairs = x + row * heads * D;
  for (int64_t i = 2 * place_in_row<kWarp>(); i < heads * D; i += 2 * kWarp) {
    const auto turn = load<2>(angles + i % D), old = load<2>(pairs + i);
    const T cosine = turn.at[0], sine = turn.at[1];
    const T even = old.at[0], odd = old.at[1];
    save<2>(pairs + i,
            {{even * cosine - odd * sine, odd * cosine + even * sine}});
  }
}

template __global__ void rope_table_kernel<float>(int64_t, int64_t, double,
                                                  double, float*);
template __global__ void rope_table_kernel<double>(int64_t, int64_t, double,
                                                   double, double*);
template __global__ void rope_kernel<float>(int64_t, int64_t, int64_t, int64_t,
                                            int64_t, const float*, float*);
template __global__ void rope_kernel<double>(int64_t, int64_t, int64_t, int64_t,
                                             int64_t, const double*, double*);
template __global__ void rope_kernel<bf16>(int64_t, int64_t, int64_t, int64_t,
                                           int64_t, const float*, bf16*);

}  // namespace timepipe::cuda
