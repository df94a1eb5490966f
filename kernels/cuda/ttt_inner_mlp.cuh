#pragma once

#include "kernels/cuda/gelu.cuh"
#include "kernels/cuda/ttt_dual_layer.cuh"
#include "kernels/cuda/ttt_inner_linear.cuh"
#include "kernels/cuda/ttt_layernorm.cuh"

namespace timepipe::cuda::ttt {

// z(x) = gelu(x W1 + b1) W2 + b2, 4D hidden units. Members as LinearModel's.
template <class T>
struct MlpModel {
  struct Train {
    InnerLoss<T> loss;     // of the second layer
    Matrix<T> z1, x2;      // [r,4D]
    Matrix<T> bk, g1, h1;  // [r,4D] gradients at x2 and z1; lr * g1

    Train() = default;
    __host__ __device__ Train(Arena<T>& arena, int r, int D)
        : loss(arena, r, D),
          z1(arena.take(r, 4 * D)),
          x2(arena.take(r, 4 * D)),
          bk(arena.take(r, 4 * D)),
          g1(arena.take(r, 4 * D)),
          h1(arena.take(r, 4 * D)) {}
  };

  struct Test {
    Matrix<T> z_bar;           // [r,D]
    Matrix<T> z1_bar, x2_bar;  // [r,4D]
    Matrix<T> gram1, gram2;    // [r,r]

    Test() = default;
    __host__ __device__ Test(Arena<T>& arena, int r, int D)
        : z_bar(arena.take(r, D)),
          z1_bar(arena.take(r, 4 * D)),
          x2_bar(arena.take(r, 4 * D)),
          gram1(arena.take(r, r)),
          gram2(arena.take(r, r)) {}
  };

  struct Gradients : LinearModel<T>::Gradients {
    Matrix<T> dz1_bar;   // [r,4D]
    Matrix<T> dx2, dz1;  // [r,4D] dz1: first dh1, then dg1, then dz1
    Matrix<T> dbk;       // [r,4D]

    Gradients() = default;
    __host__ __device__ Gradients(Arena<T>& arena, int r, int D,
                                  RowSums<double> dtok)
        : LinearModel<T>::Gradients(arena, r, D, dtok),
          dz1_bar(arena.take(r, 4 * D)),
          dx2(arena.take(r, 4 * D)),
          dz1(arena.take(r, 4 * D)),
          dbk(arena.take(r, 4 * D)) {}
  };

  __device__ static void train_view(const MiniBatch<T>& x,
                                    const State<T>& state, const Train& train) {
    const Matrix<T> z1 = train.z1, x2 = train.x2;
    set_outputs(x.k, state.first, z1);
    for_each_element(
        z1, [&](int i, int j) { x2.row(i)[j] = gelu(z1.row(i)[j]).value; });
    __syncthreads();
    apply(x2, state.second, train.loss.xhat);
  }

  __device__ static void inner_gradient(const MiniBatch<T>& x,
                                        const State<T>& state,
                                        const Train& train) {
    const Matrix<T> z1 = train.z1, bk = train.bk, g1 = train.g1, h1 = train.h1;
    const T* lr = x.lr;
    fill(bk, 0);
    add_nt(train.loss.g, state.second.w, bk);
    for_each_element(z1, [&](int i, int j) {
      const T slope = official_gelu_derivative(z1.row(i)[j]).value;
      const T gradient = bk.row(i)[j] * slope;
      g1.row(i)[j] = gradient;
      h1.row(i)[j] = lr[i] * gradient;
    });
    __syncthreads();
  }

  __device__ static void test_view(const MiniBatch<T>& x, const State<T>& state,
                                   const Train& train, const Test& test) {
    const Matrix<T> z1_bar = test.z1_bar, x2_bar = test.x2_bar;
    read(x.q, x.k, train.h1, x.tok, state.first, x.sum.first, test.gram1,
         z1_bar);
    for_each_element(z1_bar, [&](int i, int j) {
      x2_bar.row(i)[j] = gelu(z1_bar.row(i)[j]).value;
    });
    __syncthreads();
    read(x2_bar, train.x2, train.loss.h, x.tok, state.second, x.sum.second,
         test.gram2, test.z_bar);
  }

  __device__ static void update(const MiniBatch<T>& x, const Train& train,
                                T rate, const State<T>& state) {
    step(x.k, train.h1, rate, state.first);
    step(train.x2, train.loss.h, rate, state.second);
    __syncthreads();
  }

  __device__ static void test_view_backward(
      const MiniBatch<T>& x, const State<T>& state, const Train& train,
      const Test& test, const Gradients& d, const LayerScratch<T>& scratch) {
    const Matrix<T> z1_bar = test.z1_bar, dz1_bar = d.dz1_bar;
    fill(d.dx2, 0);
    read_backward(test.x2_bar, train.x2, train.loss.h, x.tok, state.second,
                  x.sum.second, test.gram2, d.dz_bar, dz1_bar, d.dx2, d.dz,
                  d.dsum.second, d.dtok, scratch);
    for_each_element(dz1_bar, [&](int i, int j) {
      dz1_bar.row(i)[j] *= gelu(z1_bar.row(i)[j]).slope;
    });
    __syncthreads();
    read_backward(x.q, x.k, train.h1, x.tok, state.first, x.sum.first,
                  test.gram1, dz1_bar, d.dq, d.dk, d.dz1, d.dsum.first, d.dtok,
                  scratch);
  }

  __device__ static void update_backward(const MiniBatch<T>& x,
                                         const Train& train, T rate,
                                         const State<T>& dstate,
                                         const Gradients& d, double* drate,
                                         const LayerScratch<T>& scratch) {
    step_backward(x.k, train.h1, rate, dstate.first, d.dz1, d.dk, drate,
                  scratch);
    step_backward(train.x2, train.loss.h, rate, dstate.second, d.dz, d.dx2,
                  drate, scratch);
  }

  __device__ static void inner_gradient_backward(const MiniBatch<T>& x,
                                                 const State<T>& state,
                                                 const Train& train,
                                                 const Gradients& d) {
    rate_backward(x.lr, train.g1, d.dz1, d.dlr);
    rate_backward(x.lr, train.loss.g, d.dz, d.dlr);
    const Matrix<T> z1 = train.z1, bk = train.bk, dz1 = d.dz1, dbk = d.dbk;
    for_each_element(dz1, [&](int i, int j) {
      const auto [value, slope] = official_gelu_derivative(z1.row(i)[j]);
      const T dg1 = dz1.row(i)[j];
      dbk.row(i)[j] = dg1 * value;
      dz1.row(i)[j] = dg1 * (bk.row(i)[j] * slope);  // its part of dz1
    });
    __syncthreads();
    add_nn(dbk, state.second.w, d.dz);
    __syncthreads();
  }

  __device__ static void train_view_backward(
      const MiniBatch<T>& x, const State<T>& state, const Train& train,
      const Test& test, const Gradients& d, const State<T>& dstate) {
    const Matrix<T> z1 = train.z1, dx2 = d.dx2, dz1 = d.dz1;
    add_nt(d.dz, state.second.w, dx2);
    for_each_element(dz1, [&](int i, int j) {
      dz1.row(i)[j] += dx2.row(i)[j] * gelu(z1.row(i)[j]).slope;
    });
    __syncthreads();
    add_nt(dz1, state.first.w, d.dk);
    apply_backward(x.q, d.dz1_bar, dstate.first);
    apply_backward(x.k, dz1, dstate.first);
    apply_backward(test.x2_bar, d.dz_bar, dstate.second);
    apply_backward(train.x2, d.dz, dstate.second);
    add_tn(d.dbk, train.loss.g, dstate.second.w);
    __syncthreads();
  }
};

}  // namespace timepipe::cuda::ttt
