#pragma once

#include "kernels/cuda/ttt_head.cuh"
#include "kernels/cuda/ttt_inner_linear.cuh"
#include "kernels/cuda/ttt_inner_mlp.cuh"

// One mini-batch, or a part of one, of one head: what the scan and decoding
// share.

namespace timepipe::cuda::ttt {

template <class T>
__device__ Norm<T> norm_of_head(const T* ln_w, const T* ln_b, int64_t D,
                                int64_t head) {
  return {ln_w + head * D, ln_b + head * D};
}

// A mini-batch with its train view.
template <class T, class Model>
struct Trained {
  MiniBatch<T> x;
  typename Model::Train train;

  Trained() = default;
  __host__ __device__ Trained(Arena<T>& arena, int r, int D)
      : x(arena, r, D), train(arena, r, D) {}

  __device__ void run(const Norm<T>& norm, const State<T>& state,
                      const LayerScratch<T>& scratch) const {
    Model::train_view(x, state, train);
    loss_gradient(norm, x, train.loss, scratch.norm);
    Model::inner_gradient(x, state, train);
  }
};

// The test view of a mini-batch; z_bar ends as its normalised rows.
template <class T, class Model>
struct Tested {
  typename Model::Test test;
  T* rstd = nullptr;

  Tested() = default;
  __host__ __device__ Tested(Arena<T>& arena, int r, int D)
      : test(arena, r, D), rstd(arena.take(r)) {}

  __device__ void run(const Trained<T, Model>& trained, const State<T>& state,
                      const LayerScratch<T>& scratch) const {
    Model::test_view(trained.x, state, trained.train, test);
    normalize(test.z_bar, rstd, scratch.norm);
  }
};

// What one head's forward needs for a mini-batch of r rows.
template <class T, class Model>
struct ForwardScratch {
  Trained<T, Model> trained;
  Tested<T, Model> tested;
  LayerScratch<T> layer;

  ForwardScratch() = default;
  __host__ __device__ ForwardScratch(Arena<T>& arena, const TttShape& shape,
                                     int r)
      : trained(arena, r, static_cast<int>(shape.head_size)),
        tested(arena, r, static_cast<int>(shape.head_size)),
        layer(arena, r, static_cast<int>(shape.head_size), hidden_size(shape)) {
  }
};

// y = q + LN(z_bar), without a barrier.
template <class T>
__device__ void write_output(const Norm<T>& norm, Matrix<T> q, Matrix<T> xhat,
                             Matrix<T> y) {
  const T *w = norm.w, *b = norm.b;
  for_each_element(y, [&](int i, int j) {
    y.row(i)[j] = q.row(i)[j] + w[j] * xhat.row(i)[j] + b[j];
  });
}

// Gradient sums of one head.
struct HeadSums {
  NormGradient dnorm;    // [D] each
  RowSums<double> dtok;  // [b]

  __host__ __device__ static int64_t size(const TttShape& shape) {
    return head_sums_size(shape);
  }
  __device__ HeadSums(const TttShape& shape, double* sums)
      : dnorm{sums, sums + shape.head_size}, dtok{sums + 2 * shape.head_size} {}
};

// What one head's backward needs for a mini-batch of r rows, next to its
// trained view.
template <class T, class Model>
struct BackwardScratch {
  Tested<T, Model> tested;
  typename Model::Gradients d;
  Matrix<T> dy, dtarget;  // [r,D]
  LayerScratch<T> layer;

  BackwardScratch() = default;
  __host__ __device__ BackwardScratch(Arena<T>& arena, const TttShape& shape,
                                      int r, RowSums<double> dtok)
      : tested(arena, r, static_cast<int>(shape.head_size)),
        d(arena, r, static_cast<int>(shape.head_size), dtok),
        dy(arena.take(r, static_cast<int>(shape.head_size))),
        dtarget(arena.take(r, static_cast<int>(shape.head_size))),
        layer(arena, r, static_cast<int>(shape.head_size), hidden_size(shape)) {
  }
};

// Those of the layer's inputs.
template <class T, class Model>
__device__ void write_gradients(const RowGradients<T>& d, const Head<T>& head,
                                const Cut& cut,
                                const BackwardScratch<T, Model>& s) {
  const Matrix<T> dq = s.d.dq, dk = s.d.dk, dy = s.dy, dtarget = s.dtarget;
  const RowSums<double> dlr = s.d.dlr;
  head.store([=](int i, int j) { return dy.row(i)[j] + dq.row(i)[j]; }, cut,
             d.dxq);
  head.store([=](int i, int j) { return dk.row(i)[j] - dtarget.row(i)[j]; },
             cut, d.dxk);
  head.store([=](int i, int j) { return dtarget.row(i)[j]; }, cut, d.dxv);
  for (int i = static_cast<int>(threadIdx.x); i < cut.rows;
       i += static_cast<int>(blockDim.x)) {
    d.dlr[(cut.row + i) * head.shape.heads + head.head] =
        static_cast<T>(dlr[i]);
  }
  __syncthreads();
}

// How a mini-batch's rows changed a state, x - rate * (their gradient sum), and
// the gradient of what that left. drate: lanes, added to; null: not wanted.
template <class T>
struct UpdateBackward {
  T rate;
  State<T> after;
  double* drate;
};

// From dy to what needs no gradient of a state: d.dz_bar and dq, and the reads'
// part of dh and dk.
template <class T, class Model>
__device__ void read_gradients(const Norm<T>& norm,
                               const Trained<T, Model>& trained,
                               const State<T>& state,
                               const Tested<T, Model>& tested, Matrix<T> dy,
                               const typename Model::Gradients& d,
                               const NormGradient& dnorm,
                               const LayerScratch<T>& scratch) {
  normalize_backward(norm, tested.test.z_bar, tested.rstd, dy, d.dz_bar, dnorm,
                     scratch.norm);
  Model::test_view_backward(trained.x, state, trained.train, tested.test, d,
                            scratch);
}

// All else, after that. Adds to dstate what arrives at `state` through the
// rows.
template <class T, class Model>
__device__ void train_gradients(
    const Norm<T>& norm, const Trained<T, Model>& trained,
    const State<T>& state, const typename Model::Test& test,
    const std::type_identity_t<UpdateBackward<T>>& update,
    const State<T>& dstate, const typename Model::Gradients& d,
    Matrix<T> dtarget, const NormGradient& dnorm,
    const LayerScratch<T>& scratch) {
  const MiniBatch<T>& x = trained.x;
  const typename Model::Train& train = trained.train;
  Model::update_backward(x, train, update.rate, update.after, d, update.drate,
                         scratch);
  Model::inner_gradient_backward(x, state, train, d);
  loss_gradient_backward(norm, train.loss, x.target, d.dz, dtarget, dnorm,
                         scratch.norm);
  Model::train_view_backward(x, state, train, test, d, dstate);
}

// All gradients of a mini-batch's rows, once the train views have been run.
// Adds to dstate as train_gradients().
template <class T, class Model>
__device__ void mini_batch_backward(
    const RowGradients<T>& d, const Head<T>& head, const Cut& cut,
    const Norm<T>& norm, const Trained<T, Model>& trained,
    const State<T>& state,
    const std::type_identity_t<UpdateBackward<T>>& update,
    const State<T>& dstate, const NormGradient& dnorm,
    const BackwardScratch<T, Model>& s) {
  copy(head.rows(d.dy, cut), s.dy);
  fill(s.d.dk, 0);
  for_each_lane(cut.rows, [&](int i, int lane) { s.d.dlr.of(i, lane) = 0; });
  s.tested.run(trained, state, s.layer);
  read_gradients(norm, trained, state, s.tested, s.dy, s.d, dnorm, s.layer);
  train_gradients(norm, trained, state, s.tested.test, update, dstate, s.d,
                  s.dtarget, dnorm, s.layer);
  write_gradients(d, head, cut, s);
}

}  // namespace timepipe::cuda::ttt
