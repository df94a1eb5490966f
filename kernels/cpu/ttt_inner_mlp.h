#pragma once

#include "kernels/cpu/gelu.h"
#include "kernels/cpu/ttt_dual_layer.h"
#include "kernels/cpu/ttt_layernorm.h"

namespace timepipe::cpu::ttt {

// f(i-th row, j) for all elements of a matrix of that size.
template <class T, class F>
void for_each_element(Matrix<T> size, F&& f) {
  for (int64_t i = 0; i < size.rows; ++i) {
    for (int64_t j = 0; j < size.cols; ++j) f(i, j);
  }
}

// z(x) = gelu(x W1 + b1) W2 + b2, 4D hidden units. Members as LinearModel's.
template <class T>
struct MlpModel {
  struct Train {
    InnerLoss<T> loss;     // of the second layer
    Matrix<T> z1, x2;      // [r,4D]
    Matrix<T> bk, g1, h1;  // [r,4D] gradients at x2 and z1; lr * g1

    Train() = default;
    Train(Arena<T>& arena, int64_t r, int64_t D)
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

    Test(Arena<T>& arena, int64_t r, int64_t D)
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

    Gradients(Arena<T>& arena, int64_t r, int64_t D, double* dtok)
        : LinearModel<T>::Gradients(arena, r, D, dtok),
          dz1_bar(arena.take(r, 4 * D)),
          dx2(arena.take(r, 4 * D)),
          dz1(arena.take(r, 4 * D)),
          dbk(arena.take(r, 4 * D)) {}
  };

  static void train_view(const MiniBatch<T>& x, const State<T>& state,
                         const Train& train) {
    apply(x.k, state.first, train.z1);
    for_each_element(train.z1, [&](int64_t i, int64_t j) {
      train.x2.row(i)[j] = gelu(train.z1.row(i)[j]).value;
    });
    apply(train.x2, state.second, train.loss.xhat);
  }

  static void inner_gradient(const MiniBatch<T>& x, const State<T>& state,
                             const Train& train,
                             const LayerScratch<T>& scratch) {
    fill(train.bk, T(0));
    add_nt(train.loss.g, state.second.w, train.bk, scratch.transposed);
    for_each_element(train.z1, [&](int64_t i, int64_t j) {
      const T slope = official_gelu_derivative(train.z1.row(i)[j]).value;
      train.g1.row(i)[j] = train.bk.row(i)[j] * slope;
      train.h1.row(i)[j] = x.lr[i] * train.g1.row(i)[j];
    });
  }

  static void test_view(const MiniBatch<T>& x, const State<T>& state,
                        const Train& train, const Test& test,
                        const LayerScratch<T>& scratch) {
    read(x.q, x.k, train.h1, x.tok, state.first, x.sum.first, test.gram1,
         test.z1_bar, scratch);
    for_each_element(test.z1_bar, [&](int64_t i, int64_t j) {
      test.x2_bar.row(i)[j] = gelu(test.z1_bar.row(i)[j]).value;
    });
    read(test.x2_bar, train.x2, train.loss.h, x.tok, state.second, x.sum.second,
         test.gram2, test.z_bar, scratch);
  }

  static void update(const MiniBatch<T>& x, const Train& train, T rate,
                     const State<T>& state) {
    step(x.k, train.h1, rate, state.first);
    step(train.x2, train.loss.h, rate, state.second);
  }

  static void test_view_backward(const MiniBatch<T>& x, const State<T>& state,
                                 const Train& train, const Test& test,
                                 const Gradients& d,
                                 const LayerScratch<T>& scratch) {
    fill(d.dx2, T(0));
    read_backward(test.x2_bar, train.x2, train.loss.h, x.tok, state.second,
                  x.sum.second, test.gram2, d.dz_bar, d.dz1_bar, d.dx2, d.dz,
                  d.dsum.second, d.dtok, scratch);
    for_each_element(d.dz1_bar, [&](int64_t i, int64_t j) {
      d.dz1_bar.row(i)[j] *= gelu(test.z1_bar.row(i)[j]).slope;
    });
    read_backward(x.q, x.k, train.h1, x.tok, state.first, x.sum.first,
                  test.gram1, d.dz1_bar, d.dq, d.dk, d.dz1, d.dsum.first,
                  d.dtok, scratch);
  }

  static void update_backward(const MiniBatch<T>& x, const Train& train, T rate,
                              const State<T>& dstate, const Gradients& d,
                              double& drate, const LayerScratch<T>& scratch) {
    step_backward(x.k, train.h1, rate, dstate.first, d.dz1, d.dk, drate,
                  scratch);
    step_backward(train.x2, train.loss.h, rate, dstate.second, d.dz, d.dx2,
                  drate, scratch);
  }

  static void inner_gradient_backward(const MiniBatch<T>& x,
                                      const State<T>& state, const Train& train,
                                      const Gradients& d) {
    rate_backward(x.lr, train.g1, d.dz1, d.dlr);
    rate_backward(x.lr, train.loss.g, d.dz, d.dlr);
    for_each_element(d.dz1, [&](int64_t i, int64_t j) {
      const auto [value, slope] = official_gelu_derivative(train.z1.row(i)[j]);
      T& dg1 = d.dz1.row(i)[j];
      d.dbk.row(i)[j] = dg1 * value;
      dg1 *= train.bk.row(i)[j] * slope;  // its part of dz1
    });
    add_nn(d.dbk, state.second.w, d.dz);
  }

  static void train_view_backward(const MiniBatch<T>& x, const State<T>& state,
                                  const Train& train, const Test& test,
                                  const Gradients& d, const State<T>& dstate,
                                  const LayerScratch<T>& scratch) {
    add_nt(d.dz, state.second.w, d.dx2, scratch.transposed);
    for_each_element(d.dz1, [&](int64_t i, int64_t j) {
      d.dz1.row(i)[j] += d.dx2.row(i)[j] * gelu(train.z1.row(i)[j]).slope;
    });
    add_nt(d.dz1, state.first.w, d.dk, scratch.transposed);
    apply_backward(x.q, d.dz1_bar, dstate.first);
    apply_backward(x.k, d.dz1, dstate.first);
    apply_backward(test.x2_bar, d.dz_bar, dstate.second);
    apply_backward(train.x2, d.dz, dstate.second);
    add_tn(d.dbk, train.loss.g, dstate.second.w);
  }
};

}  // namespace timepipe::cpu::ttt
