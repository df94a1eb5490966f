#include "kernels/cpu/ttt_scan.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <vector>

#include "kernels/cpu/ttt_head.h"
#include "kernels/cpu/ttt_inner_linear.h"
#include "kernels/cpu/ttt_inner_mlp.h"
#include "runtime/parallel_for.h"

namespace timepipe::cpu {
namespace {

using namespace ttt;  // NOLINT: the parts of this one scan

constexpr int64_t kGroup = TttShape::kCheckpointEvery;

template <class T>
Norm<T> norm_of_head(const Tensor& ln_w, const Tensor& ln_b, int64_t head) {
  const int64_t D = ln_w.dim(1);
  return {ln_w.data<T>() + head * D, ln_b.data<T>() + head * D};
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

template <class T, class Model>
void forward_head(const TttScanForward& args, std::span<const Cut> cuts,
                  int64_t h, T* block) {
  const Head<T> head{args.shape, h};
  const Norm<T> norm = norm_of_head<T>(args.ln_w, args.ln_b, h);
  const State<T> state = head.state(args.state_out);
  if (cuts.empty() || !cuts[0].resets) {
    copy(head.state(args.state_in), state);
  }
  for (std::size_t n = 0; n < cuts.size(); ++n) {
    if (cuts[n].resets) copy(head.state(args.start), state);
    if (n % kGroup == 0) {
      copy(state, head.state(args.checkpoints, n / kGroup));
    }
    Arena<T> arena(block);
    ForwardScratch<T, Model> s(arena, args.shape, cuts[n].rows);
    head.load(args, cuts[n], s.trained.x);
    s.trained.run(norm, state, s.layer);
    s.tested.run(s.trained, state, s.layer);
    write_output(norm, s.trained.x.q, s.tested.test.z_bar,
                 head.rows(args.y, cuts[n]));
    Model::update(s.trained.x, s.trained.train, state);
  }
}

// One mini-batch of a group that is run again, with the state before it.
template <class T, class Model>
struct Step {
  Trained<T, Model> trained;
  State<T> state;

  Step() = default;
  Step(Arena<T>& arena, const TttShape& shape, int64_t r)
      : trained(arena, r, shape.head_size),
        state(make_state<T>(shape, [&](int64_t rows, int64_t cols) {
          return arena.take(rows, cols);
        })) {}
};

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

template <class T, class Model>
class BackwardOfHead {
 public:
  BackwardOfHead(const TttScanBackward& args, std::span<const Cut> cuts,
                 int64_t head, T* block, double* sums)
      : args_(args),
        cuts_(cuts),
        head_{args.shape, head},
        norm_(norm_of_head<T>(args.ln_w, args.ln_b, head)),
        dstate_(head_.state(args.dstate_in)),
        sums_(args.shape, sums),
        block_(block) {}

  void run() {
    const int64_t N = std::ssize(cuts_);
    for (int64_t group = (N + kGroup - 1) / kGroup - 1; group >= 0; --group) {
      const int64_t begin = group * kGroup, end = std::min(N, begin + kGroup);
      Arena<T> arena(block_);
      run_forward(group, cuts_.subspan(begin, end - begin), arena);
      for (int64_t n = end - 1; n >= begin; --n) {
        run_backward(cuts_[n], steps_[n - begin], arena);
        if (cuts_[n].resets) hand_to_start();
      }
    }
  }

  // Elements of `block`.
  static int64_t block_size(const TttShape& shape) {
    Arena<T> arena;
    for (int64_t n = 0; n < kGroup; ++n) {
      Step<T, Model>(arena, shape, shape.mini_batch);
    }
    BackwardScratch<T, Model>(arena, shape, shape.mini_batch, nullptr);
    return arena.size();
  }

 private:
  // The train views of one group, from its checkpoint.
  void run_forward(int64_t group, std::span<const Cut> cuts, Arena<T>& arena) {
    for (std::size_t n = 0; n < cuts.size(); ++n) {
      Step<T, Model>& step = steps_[n];
      step = Step<T, Model>(arena, args_.shape, cuts[n].rows);
      if (n == 0) {
        copy(head_.state(args_.checkpoints, group), step.state);
      } else if (cuts[n].resets) {
        copy(head_.state(args_.start), step.state);
      } else {
        const Step<T, Model>& last = steps_[n - 1];
        copy(last.state, step.state);
        Model::update(last.trained.x, last.trained.train, step.state);
      }
      head_.load(args_, cuts[n], step.trained.x);
      Arena<T> rest = arena;
      const LayerScratch<T> scratch(rest, cuts[n].rows, args_.shape.head_size,
                                    hidden_size(args_.shape));
      step.trained.run(norm_, step.state, scratch);
    }
  }

  void run_backward(const Cut& cut, const Step<T, Model>& step,
                    Arena<T> arena) {
    const auto& [x, train] = step.trained;
    BackwardScratch<T, Model> s(arena, args_.shape, cut.rows, sums_.dtok);
    copy(head_.rows(args_.dy, cut), s.dy);
    fill(s.d.dk, T(0));
    std::fill_n(s.d.dlr, cut.rows, T(0));

    s.tested.run(step.trained, step.state, s.layer);
    normalize_backward(norm_, s.tested.test.z_bar, s.tested.rstd, s.dy,
                       s.d.dz_bar, sums_.dnorm);
    Model::test_view_backward(x, step.state, train, s.tested.test, s.d,
                              s.layer);
    Model::update_backward(x, train, dstate_, s.d, s.layer);
    Model::inner_gradient_backward(x, step.state, train, s.d);
    loss_gradient_backward(norm_, train.loss, x.target, s.d.dz, s.dtarget,
                           sums_.dnorm);
    Model::train_view_backward(x, step.state, train, s.tested.test, s.d,
                               dstate_, s.layer);
    write_gradients(cut, s);
  }

  void write_gradients(const Cut& cut, const BackwardScratch<T, Model>& s) {
    const Matrix<T> dxq = head_.rows(args_.dxq, cut),
                    dxk = head_.rows(args_.dxk, cut),
                    dxv = head_.rows(args_.dxv, cut);
    for (int64_t i = 0; i < cut.rows; ++i) {
      for (int64_t j = 0; j < dxq.cols; ++j) {
        const T dtarget = s.dtarget.row(i)[j];
        dxq.row(i)[j] = s.dy.row(i)[j] + s.d.dq.row(i)[j];
        dxk.row(i)[j] = s.d.dk.row(i)[j] - dtarget;
        dxv.row(i)[j] = dtarget;
      }
      const int64_t H = args_.shape.heads;
      args_.dlr.template data<T>()[(cut.row + i) * H + head_.head] = s.d.dlr[i];
    }
  }

  void hand_to_start() {
    const State<T> dstart = head_.state(args_.dstart);
    move(dstate_.first.w, dstart.first.w);
    move(dstate_.first.b, dstart.first.b);
    move(dstate_.second.w, dstart.second.w);
    move(dstate_.second.b, dstart.second.b);
  }

  static void move(Matrix<T> from, Matrix<T> to) {
    for (int64_t i = 0; i < to.rows; ++i) {
      for (int64_t j = 0; j < to.cols; ++j) to.row(i)[j] += from.row(i)[j];
    }
    fill(from, T(0));
  }

  const TttScanBackward& args_;
  std::span<const Cut> cuts_;
  Head<T> head_;
  Norm<T> norm_;
  State<T> dstate_;  // the gradient of the running state, in dstate_in
  HeadSums sums_;
  T* block_;
  std::array<Step<T, Model>, kGroup> steps_;
};

template <class T, class Model>
void forward(Context& ctx, const TttScanForward& args) {
  const TttShape& shape = args.shape;
  const std::vector<Cut> cuts = cut_segments(args.segments, shape.mini_batch);
  clear_padding(args.segments, args.y);
  Arena<T> arena;
  ForwardScratch<T, Model>(arena, shape, shape.mini_batch);
  Tensor scratch = ctx.allocate({shape.heads, arena.size()}, dtype_of<T>());
  const int64_t used = (std::ssize(cuts) + kGroup - 1) / kGroup;
  std::ranges::fill(
      args.checkpoints.slice(used, args.checkpoints.dim(0)).bytes(),
      std::byte{0});
  T* blocks = scratch.data<T>();
  parallel_for(shape.heads, [&](int64_t h) {
    forward_head<T, Model>(args, cuts, h, blocks + h * arena.size());
  });
}

// dln_w, dln_b: each head's own. dtok: over heads in order.
template <class T>
void write_sums(const TttScanBackward& args, const double* sums) {
  const int64_t D = args.shape.head_size, H = args.shape.heads;
  const int64_t b = args.shape.mini_batch, n = HeadSums::size(args.shape);
  for (int64_t h = 0; h < H; ++h) {
    for (int64_t j = 0; j < D; ++j) {
      args.dln_w.data<T>()[h * D + j] = static_cast<T>(sums[h * n + j]);
      args.dln_b.data<T>()[h * D + j] = static_cast<T>(sums[h * n + D + j]);
    }
  }
  for (int64_t i = 0; i < b; ++i) {
    double sum = 0;
    for (int64_t h = 0; h < H; ++h) sum += sums[h * n + 2 * D + i];
    args.dtok.data<T>()[i] = static_cast<T>(sum);
  }
}

template <class T, class Model>
void backward(Context& ctx, const TttScanBackward& args) {
  const TttShape& shape = args.shape;
  const std::vector<Cut> cuts = cut_segments(args.segments, shape.mini_batch);
  for (Tensor* t : {&args.dxq, &args.dxk, &args.dxv, &args.dlr}) {
    clear_padding(args.segments, *t);
  }
  std::ranges::fill(args.dstart.bytes(), std::byte{0});
  if (args.dstate_out.empty()) {
    std::ranges::fill(args.dstate_in.bytes(), std::byte{0});
  } else {
    std::ranges::copy(args.dstate_out.bytes(), args.dstate_in.bytes().data());
  }
  const int64_t block_size = BackwardOfHead<T, Model>::block_size(shape);
  const int64_t n = HeadSums::size(shape);
  Tensor scratch = ctx.allocate({shape.heads, block_size}, dtype_of<T>());
  Tensor sums = ctx.zeros({shape.heads, n}, DType::kF64);
  T* blocks = scratch.data<T>();
  double* head_sums = sums.data<double>();
  parallel_for(shape.heads, [&](int64_t h) {
    BackwardOfHead<T, Model>(args, cuts, h, blocks + h * block_size,
                             head_sums + h * n)
        .run();
  });
  write_sums<T>(args, head_sums);
}

}  // namespace

void ttt_scan_forward(Context& ctx, const TttScanForward& args) {
  dispatch(args.xq.dtype(), [&](auto zero) {
    using T = decltype(zero);
    if (args.shape.inner == InnerModel::kLinear) {
      forward<T, LinearModel<T>>(ctx, args);
    } else {
      forward<T, MlpModel<T>>(ctx, args);
    }
  });
}

void ttt_scan_backward(Context& ctx, const TttScanBackward& args) {
  dispatch(args.xq.dtype(), [&](auto zero) {
    using T = decltype(zero);
    if (args.shape.inner == InnerModel::kLinear) {
      backward<T, LinearModel<T>>(ctx, args);
    } else {
      backward<T, MlpModel<T>>(ctx, args);
    }
  });
}

}  // namespace timepipe::cpu
