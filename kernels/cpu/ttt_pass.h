#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "kernels/cpu/ttt_head.h"
#include "kernels/cpu/ttt_inner_linear.h"
#include "kernels/cpu/ttt_inner_mlp.h"

// One mini-batch, or a part of one, of one head: what the scan and decoding
// share.

namespace timepipe::cpu::ttt {

template <class T>
Norm<T> norm_of_head(const Tensor& ln_w, const Tensor& ln_b, int64_t head) {
  const int64_t D = ln_w.dim(1);
  return {elements<T>(ln_w) + head * D, elements<T>(ln_b) + head * D};
}

// A mini-batch with its train view.
template <class T, class Model>
struct Trained {
  MiniBatch<T> x;
  typename Model::Train train;

  Trained() = default;
  Trained(Arena<T>& arena, int64_t r, int64_t D)
      : x(arena, r, D), train(arena, r, D) {}

  void run(const Norm<T>& norm, const State<T>& state,
           const LayerScratch<T>& scratch) {
    Model::train_view(x, state, train);
    loss_gradient(norm, x, train.loss);
    Model::inner_gradient(x, state, train, scratch);
  }
};

// The test view of a mini-batch; z_bar ends as its normalised rows.
template <class T, class Model>
struct Tested {
  typename Model::Test test;
  T* rstd;

  Tested(Arena<T>& arena, int64_t r, int64_t D)
      : test(arena, r, D), rstd(arena.take(r)) {}

  void run(const Trained<T, Model>& trained, const State<T>& state,
           const LayerScratch<T>& scratch) {
    Model::test_view(trained.x, state, trained.train, test, scratch);
    normalize(test.z_bar, rstd);
  }
};

// What one head's forward needs for a mini-batch of r rows.
template <class T, class Model>
struct ForwardScratch {
  Trained<T, Model> trained;
  Tested<T, Model> tested;
  LayerScratch<T> layer;

  ForwardScratch(Arena<T>& arena, const TttShape& shape, int64_t r)
      : trained(arena, r, shape.head_size),
        tested(arena, r, shape.head_size),
        layer(arena, r, shape.head_size, hidden_size(shape)) {}
};

// y = q + LN(z_bar)
template <class T>
void write_output(const Norm<T>& norm, Matrix<T> q, Matrix<T> xhat,
                  Matrix<T> y) {
  for (int64_t i = 0; i < y.rows; ++i) {
    for (int64_t j = 0; j < y.cols; ++j) {
      y.row(i)[j] = q.row(i)[j] + norm.w[j] * xhat.row(i)[j] + norm.b[j];
    }
  }
}

// Gradient sums of one head.
struct HeadSums {
  NormGradient dnorm;  // [D] each
  double* dtok;        // [b]

  static int64_t size(const TttShape& shape) {
    return 2 * shape.head_size + shape.mini_batch;
  }
  HeadSums(const TttShape& shape, double* sums)
      : dnorm{sums, sums + shape.head_size}, dtok(sums + 2 * shape.head_size) {}
};

// What one head's backward needs for a mini-batch of r rows, next to the steps
// of its group.
template <class T, class Model>
struct BackwardScratch {
  Tested<T, Model> tested;
  typename Model::Gradients d;
  Matrix<T> dy, dtarget;  // [r,D]
  LayerScratch<T> layer;

  BackwardScratch(Arena<T>& arena, const TttShape& shape, int64_t r,
                  double* dtok)
      : tested(arena, r, shape.head_size),
        d(arena, r, shape.head_size, dtok),
        dy(arena.take(r, shape.head_size)),
        dtarget(arena.take(r, shape.head_size)),
        layer(arena, r, shape.head_size, hidden_size(shape)) {}
};

// dq and dk become those of the layer's inputs. Gradients: either kernel's.
template <class T, class Model, class Gradients>
void write_gradients(Gradients& d, const Head<T>& head, const Cut& cut,
                     const BackwardScratch<T, Model>& s) {
  for (int64_t i = 0; i < cut.rows; ++i) {
    for (int64_t j = 0; j < s.dy.cols; ++j) {
      s.d.dq.row(i)[j] = s.dy.row(i)[j] + s.d.dq.row(i)[j];
      s.d.dk.row(i)[j] -= s.dtarget.row(i)[j];
    }
    const int64_t H = head.shape.heads;
    elements<T>(d.dlr)[(cut.row + i) * H + head.head] = s.d.dlr[i];
  }
  head.store(s.d.dq, cut, d.dxq);
  head.store(s.d.dk, cut, d.dxk);
  head.store(s.dtarget, cut, d.dxv);
}

// How a mini-batch's rows changed a state, x - rate * (their gradient sum), and
// the gradient of what that left. drate: added to.
template <class T>
struct UpdateBackward {
  T rate;
  State<T> after;
  double* drate;
};

// All gradients of a mini-batch's rows, once the train views have been run.
// Adds to dstate what arrives at `state` through the rows.
template <class T, class Model, class Gradients>
void mini_batch_backward(Gradients& d, const Head<T>& head, const Cut& cut,
                         const Norm<T>& norm, const Trained<T, Model>& trained,
                         const State<T>& state,
                         const std::type_identity_t<UpdateBackward<T>>& update,
                         const State<T>& dstate, const NormGradient& dnorm,
                         const BackwardScratch<T, Model>& s) {
  const auto& [x, train] = trained;
  copy(head.rows(std::as_const(d.dy), cut), s.dy);
  fill(s.d.dk, T(0));
  std::fill_n(s.d.dlr, cut.rows, T(0));

  Tested<T, Model> tested = s.tested;
  tested.run(trained, state, s.layer);
  normalize_backward(norm, tested.test.z_bar, tested.rstd, s.dy, s.d.dz_bar,
                     dnorm);
  Model::test_view_backward(x, state, train, tested.test, s.d, s.layer);
  Model::update_backward(x, train, update.rate, update.after, s.d,
                         *update.drate, s.layer);
  Model::inner_gradient_backward(x, state, train, s.d);
  loss_gradient_backward(norm, train.loss, x.target, s.d.dz, s.dtarget, dnorm);
  Model::train_view_backward(x, state, train, tested.test, s.d, dstate,
                             s.layer);
  write_gradients(d, head, cut, s);
}

// sums: of each member's heads. dln_w, dln_b: each head's own, over members in
// order. dtok: over members and their heads in order.
template <class T, class Gradients>
void write_sums(const TttShape& shape, int64_t members, Gradients& d,
                const double* sums) {
  const int64_t D = shape.head_size, H = shape.heads;
  const int64_t n = HeadSums::size(shape);
  const auto over_members = [=](int64_t h, int64_t j) {
    double sum = 0;
    for (int64_t m = 0; m < members; ++m) sum += sums[(m * H + h) * n + j];
    return static_cast<T>(sum);
  };
  for (int64_t h = 0; h < H; ++h) {
    for (int64_t j = 0; j < D; ++j) {
      elements<T>(d.dln_w)[h * D + j] = over_members(h, j);
      elements<T>(d.dln_b)[h * D + j] = over_members(h, D + j);
    }
  }
  for (int64_t i = 0; i < d.dtok.numel(); ++i) {
    double sum = 0;
    for (int64_t k = 0; k < members * H; ++k) sum += sums[k * n + 2 * D + i];
    elements<T>(d.dtok)[i] = static_cast<T>(sum);
  }
}

}  // namespace timepipe::cpu::ttt
