#pragma once

#include "kernels/cuda/ttt_dual_layer.cuh"
#include "kernels/cuda/ttt_layernorm.cuh"

namespace timepipe::cuda::ttt {

// z(x) = x W1 + b1
template <class T>
struct LinearModel {
  // A mini-batch at the training inputs k, kept for the backward.
  struct Train {
    InnerLoss<T> loss;

    Train() = default;
    __host__ __device__ Train(Arena<T>& arena, int r, int D)
        : loss(arena, r, D) {}
  };

  // A mini-batch at the reading inputs q.
  struct Test {
    Matrix<T> z_bar;  // [r,D]
    Matrix<T> gram;   // [r,r]

    Test() = default;
    __host__ __device__ Test(Arena<T>& arena, int r, int D)
        : z_bar(arena.take(r, D)), gram(arena.take(r, r)) {}
  };

  // Gradients inside one mini-batch.
  struct Gradients {
    Matrix<T> dq, dk;      // [r,D]
    Matrix<T> dz_bar;      // [r,D]
    Matrix<T> dz;          // [r,D] first dh, then dg, then dz
    RowSums<double> dlr;   // [r]
    RowSums<double> dtok;  // [r], added to
    State<T> dsum;         // as MiniBatch::sum; added to

    Gradients() = default;
    __host__ __device__ Gradients(Arena<T>& arena, int r, int D,
                                  RowSums<double> dtok)
        : dq(arena.take(r, D)),
          dk(arena.take(r, D)),
          dz_bar(arena.take(r, D)),
          dz(arena.take(r, D)),
          dlr(take_sums<double>(arena, r)),
          dtok(dtok) {}
  };

  __device__ static void train_view(const MiniBatch<T>& x,
                                    const State<T>& state, const Train& train) {
    apply(x.k, state.first, train.loss.xhat);
  }

  // The loss's gradient at Z is that of the only layer.
  __device__ static void inner_gradient(const MiniBatch<T>&, const State<T>&,
                                        const Train&) {}

  __device__ static void test_view(const MiniBatch<T>& x, const State<T>& state,
                                   const Train& train, const Test& test) {
    read(x.q, x.k, train.loss.h, x.tok, state.first, x.sum.first, test.gram,
         test.z_bar);
  }

  // state <- state - rate * (sum of lr * gradient over the rows)
  __device__ static void update(const MiniBatch<T>& x, const Train& train,
                                T rate, const State<T>& state) {
    step(x.k, train.loss.h, rate, state.first);
    __syncthreads();
  }

  // From dz_bar to dq and dh.
  __device__ static void test_view_backward(
      const MiniBatch<T>& x, const State<T>& state, const Train& train,
      const Test& test, const Gradients& d, const LayerScratch<T>& scratch) {
    read_backward(x.q, x.k, train.loss.h, x.tok, state.first, x.sum.first,
                  test.gram, d.dz_bar, d.dq, d.dk, d.dz, d.dsum.first, d.dtok,
                  scratch);
  }

  // From the gradient of the state after update to dh and drate.
  __device__ static void update_backward(const MiniBatch<T>& x,
                                         const Train& train, T rate,
                                         const State<T>& dstate,
                                         const Gradients& d, double* drate,
                                         const LayerScratch<T>& scratch) {
    step_backward(x.k, train.loss.h, rate, dstate.first, d.dz, d.dk, drate,
                  scratch);
  }

  // From dh to dg of the loss.
  __device__ static void inner_gradient_backward(const MiniBatch<T>& x,
                                                 const State<T>&,
                                                 const Train& train,
                                                 const Gradients& d) {
    rate_backward(x.lr, train.loss.g, d.dz, d.dlr);
  }

  // From dz to dk; dstate becomes that before the mini-batch.
  __device__ static void train_view_backward(const MiniBatch<T>& x,
                                             const State<T>& state,
                                             const Train&, const Test&,
                                             const Gradients& d,
                                             const State<T>& dstate) {
    add_nt(d.dz, state.first.w, d.dk);
    apply_backward(x.q, d.dz_bar, dstate.first);
    apply_backward(x.k, d.dz, dstate.first);
    __syncthreads();
  }
};

}  // namespace timepipe::cuda::ttt
