#pragma once

// The inner learner's rates: of each token and head, and of each place in the
// mini-batch.  u: [rows,C], w: [H,C], bias: [H], gate, lr, ds: [rows,H].

#include "kernels/cuda/device.h"

namespace timepipe::cuda {

// A warp takes a token and a head.
template <class A>
__global__ void inner_rate_forward_kernel(int64_t rows, int64_t H, int64_t C,
                                          const A* u, const Computed<A>* w,
                                          const Computed<A>* bias, double scale,
                                          Computed<A>* gate, Computed<A>* lr);

// ds: the gradient at the sigmoids' arguments, n of them.
template <class T>
__global__ void inner_rate_gate_kernel(int64_t n, const T* dlr, const T* gate,
                                       double scale, double* ds);
// du[t,:] += sum over h of ds[t,h] w[h,:], a warp for each row.
template <class T>
__global__ void inner_rate_backward_u_kernel(int64_t rows, int64_t H, int64_t C,
                                             const double* ds, const T* w,
                                             T* du);
// partials[g,h,c] = sum of ds[t,h] u[t,c] over the g-th `length` rows, in
// order. A warp takes kRateHeads heads of 32 columns, so that u is read less
// often.
inline constexpr int kRateHeads = 4;
template <class A>
__global__ void inner_rate_backward_w_kernel(int64_t rows, int64_t length,
                                             int64_t H, int64_t C,
                                             const double* ds, const A* u,
                                             double* partials);

// Of n places of the mini-batch.
template <class T>
__global__ void token_scale_forward_kernel(int64_t n, const T* learnable,
                                           T* tok);
template <class T>
__global__ void token_scale_backward_kernel(int64_t n, const T* dtok,
                                            const T* learnable, T* dlearnable);

}  // namespace timepipe::cuda
