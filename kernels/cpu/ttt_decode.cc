// Decoding with a TTT layer on host memory, heads shared among threads.

#include <algorithm>

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/ttt_pass.h"
#include "runtime/parallel_for.h"

// The dual form of the rows at hand, to which the earlier tokens' gradient sum
// adds one more layer that is read. With one row that is the primal form.

namespace timepipe::cpu {
namespace {

using namespace ttt;  // NOLINT: the parts of this one kernel

template <class T>
State<T> take_state(Arena<T>& arena, const TttShape& shape) {
  return make_state<T>(shape, [&](int64_t rows, int64_t cols) {
    return arena.take(rows, cols);
  });
}

// f(a, b) for the pairs of matrices of two states.
template <class A, class B, class F>
void for_each_matrix(const State<A>& a, const State<B>& b, F&& f) {
  f(a.first.w, b.first.w);
  f(a.first.b, b.first.b);
  f(a.second.w, b.second.w);
  f(a.second.b, b.second.b);
}

// to += alpha * from
template <class T, class From>
void add_scaled(T alpha, const State<From>& from, const State<T>& to) {
  for_each_matrix(from, to, [=](auto x, auto y) {
    for (int64_t i = 0; i < y.rows; ++i) {
      for (int64_t j = 0; j < y.cols; ++j) {
        y.row(i)[j] += alpha * x.row(i)[j];
      }
    }
  });
}

// In f64, as the other parts of the gradient of tok.
template <class T, class From>
double inner_product(const State<From>& a, const State<T>& b) {
  double sum = 0;
  for_each_matrix(a, b, [&](auto x, auto y) {
    for (int64_t i = 0; i < y.rows; ++i) {
      sum += dot(y.cols, x.row(i), static_cast<const T*>(y.row(i)));
    }
  });
  return sum;
}

template <class T, class Model>
struct DecodeScratch {
  ForwardScratch<T, Model> pass;
  State<T> state;

  DecodeScratch(Arena<T>& arena, const TttShape& shape, int64_t r)
      : pass(arena, shape, r), state(take_state(arena, shape)) {}
};

template <class T, class Model>
void forward_head(const TttDecodeForward& args, int64_t h, T* block) {
  const Head<T> head{args.shape, h};
  const Cut all{.row = 0, .rows = args.xq.dim(0), .resets = false};
  const Norm<T> norm = norm_of_head<T>(args.ln_w, args.ln_b, h);
  Arena<T> arena(block);
  DecodeScratch<T, Model> s(arena, args.shape, all.rows);
  auto& [trained, tested, layer] = s.pass;
  const State<T> sum = head.state(args.sum_out);
  copy(head.state(args.state), s.state);
  if (!args.sum_in.same_memory(args.sum_out)) {
    copy(head.state(args.sum_in), sum);
  }
  head.load(args, all, trained.x);
  trained.x.sum = sum;
  trained.run(norm, s.state, layer);
  tested.run(trained, s.state, layer);
  write_output(norm, trained.x.q, tested.test.z_bar, head.rows(args.y, all));
  Model::update(trained.x, trained.train, T(-1), sum);
  if (args.state_last.empty()) return;
  add_scaled(-trained.x.tok_last(), sum, s.state);
  copy(s.state, head.state(args.state_last));
}

template <class T, class Model>
void forward(Context& ctx, const TttDecodeForward& args) {
  Arena<T> arena;
  DecodeScratch<T, Model>(arena, args.shape, args.xq.dim(0));
  Tensor scratch =
      ctx.allocate({args.shape.heads, arena.size()}, dtype_of<T>());
  T* blocks = elements<T>(scratch);
  parallel_for(args.shape.heads, [&](int64_t h) {
    forward_head<T, Model>(args, h, blocks + h * arena.size());
  });
}

template <class T, class Model>
struct DecodeBackwardScratch {
  Trained<T, Model> trained;
  BackwardScratch<T, Model> pass;
  State<T> state, sum, dsum;

  DecodeBackwardScratch(Arena<T>& arena, const TttShape& shape, int64_t r,
                        double* dtok)
      : trained(arena, r, shape.head_size),
        pass(arena, shape, r, dtok),
        state(take_state(arena, shape)),
        sum(take_state(arena, shape)),
        dsum(take_state(arena, shape)) {}
};

// Sets dstate and dsum to what arrives from state_last and sum_out, M being
// the sum after the rows: state_last = state - tok_last M, sum_out = M. `sum`:
// that before the rows; M on return.
template <class T, class Model>
void last_state_backward(const TttDecodeBackward& args, const Head<T>& head,
                         const DecodeBackwardScratch<T, Model>& s) {
  const MiniBatch<T>& x = s.trained.x;
  const State<T> dstate = head.state(args.dstate);
  const Tensor &dsum_out = args.dsum_out, &dlast = args.dstate_last;
  const auto clear = [](auto, auto m) { fill(m, T(0)); };
  for_each_matrix(dstate, dstate, clear);
  for_each_matrix(s.dsum, s.dsum, clear);
  if (!dsum_out.empty()) copy(head.state(dsum_out), s.dsum);
  if (dlast.empty()) return;
  copy(head.state(dlast), dstate);
  add_scaled(-x.tok_last(), dstate, s.dsum);
  copy(head.state(args.sum_in), s.sum);
  Model::update(x, s.trained.train, T(-1), s.sum);
  s.pass.d.dtok[x.rows() - 1] -= inner_product(s.sum, dstate);
  copy(head.state(args.sum_in), s.sum);
}

template <class T, class Model>
void backward_head(const TttDecodeBackward& args, int64_t h, T* block,
                   double* head_sums) {
  const Head<T> head{args.shape, h};
  const Cut all{.row = 0, .rows = args.xq.dim(0), .resets = false};
  const Norm<T> norm = norm_of_head<T>(args.ln_w, args.ln_b, h);
  const HeadSums sums(args.shape, head_sums);
  Arena<T> arena(block);
  DecodeBackwardScratch<T, Model> s(arena, args.shape, all.rows, sums.dtok);
  MiniBatch<T>& x = s.trained.x;
  copy(head.state(args.state), s.state);
  copy(head.state(args.sum_in), s.sum);
  head.load(args, all, x);
  x.sum = s.sum;
  s.trained.run(norm, s.state, s.pass.layer);
  last_state_backward(args, head, s);
  s.pass.d.dsum = head.state(args.dsum_in);
  copy(s.dsum, s.pass.d.dsum);
  double unwanted = 0;  // the rate is constant
  mini_batch_backward(args, head, all, norm, s.trained, s.state,
                      {T(-1), s.dsum, &unwanted}, head.state(args.dstate),
                      sums.dnorm, s.pass);
}

template <class T, class Model>
void backward(Context& ctx, const TttDecodeBackward& args) {
  const TttShape& shape = args.shape;
  Arena<T> arena;
  DecodeBackwardScratch<T, Model>(arena, shape, args.xq.dim(0), nullptr);
  const int64_t n = HeadSums::size(shape);
  Tensor scratch = ctx.allocate({shape.heads, arena.size()}, dtype_of<T>());
  Tensor sums = ctx.zeros({shape.heads, n}, DType::kF64);
  T* blocks = elements<T>(scratch);
  double* head_sums = elements<double>(sums);
  parallel_for(shape.heads, [&](int64_t h) {
    backward_head<T, Model>(args, h, blocks + h * arena.size(),
                            head_sums + h * n);
  });
  write_sums<T>(shape, /*members=*/1, args, head_sums);
}

// f(T, Model) for the element type and the inner model of a problem.
template <class Args, class F>
void dispatch_model(const Args& args, F&& f) {
  dispatch(args.lr.dtype(), [&](auto zero) {
    using T = decltype(zero);
    if (args.shape.inner == InnerModel::kLinear) {
      f.template operator()<T, LinearModel<T>>();
    } else {
      f.template operator()<T, MlpModel<T>>();
    }
  });
}

}  // namespace

void ttt_decode_forward(Context& ctx, const TttDecodeForward& args) {
  dispatch_model(args,
                 [&]<class T, class Model>() { forward<T, Model>(ctx, args); });
}

void ttt_decode_backward(Context& ctx, const TttDecodeBackward& args) {
  dispatch_model(
      args, [&]<class T, class Model>() { backward<T, Model>(ctx, args); });
}

}  // namespace timepipe::cpu
