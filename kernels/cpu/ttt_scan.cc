// The scan of a TTT layer on host memory: the heads are shared among threads,
// each goes through its mini-batches in order.

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <vector>

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/ttt_pass.h"
#include "runtime/parallel_for.h"

namespace timepipe::cpu {
namespace {

using namespace ttt;  // NOLINT: the parts of this one scan

// The forward keeps the state before every group of so many mini-batches; the
// backward runs a group forward again from there.
constexpr int64_t kGroup = 16;

int64_t num_groups(int64_t mini_batches) {
  return (mini_batches + kGroup - 1) / kGroup;
}

template <class T, class Model>
void forward_head(TttScan& scan, const Tensor& start, const Tensor& state_in,
                  Tensor& state_out, std::span<const Cut> cuts, int64_t h,
                  T* block) {
  const Head<T> head{scan.shape, h};
  const Norm<T> norm = norm_of_head<T>(scan.ln_w, scan.ln_b, h);
  const State<T> state = head.state(state_out);
  if (cuts.empty() || !cuts[0].resets) copy(head.state(state_in), state);
  for (std::size_t n = 0; n < cuts.size(); ++n) {
    if (cuts[n].resets) copy(head.state(start), state);
    if (n % kGroup == 0) {
      copy(state, head.state(scan.kept, n / kGroup));
    }
    Arena<T> arena(block);
    ForwardScratch<T, Model> s(arena, scan.shape, cuts[n].rows);
    head.load(scan, cuts[n], s.trained.x);
    s.trained.run(norm, state, s.layer);
    s.tested.run(s.trained, state, s.layer);
    write_output(norm, s.trained.x.q, s.tested.test.z_bar,
                 head.rows(scan.y, cuts[n]));
    Model::update(s.trained.x, s.trained.train, s.trained.x.tok_last(), state);
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

template <class T, class Model>
class BackwardOfHead {
 public:
  BackwardOfHead(const TttScan& scan, TttScanGradients& d, const Tensor& start,
                 Tensor& dstate_in, Tensor& dstart, std::span<const Cut> cuts,
                 int64_t head, T* block, double* sums)
      : scan_(scan),
        d_(d),
        cuts_(cuts),
        head_{scan.shape, head},
        norm_(norm_of_head<T>(scan.ln_w, scan.ln_b, head)),
        start_(head_.state(start)),
        dstate_(head_.state(dstate_in)),
        dstart_(head_.state(dstart)),
        sums_(scan.shape, sums),
        block_(block) {}

  void run() {
    const int64_t N = std::ssize(cuts_);
    for (int64_t group = num_groups(N) - 1; group >= 0; --group) {
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
  // The train views of one group, from the state kept before it.
  void run_forward(int64_t group, std::span<const Cut> cuts, Arena<T>& arena) {
    for (std::size_t n = 0; n < cuts.size(); ++n) {
      Step<T, Model>& step = steps_[n];
      step = Step<T, Model>(arena, scan_.shape, cuts[n].rows);
      if (n == 0) {
        copy(head_.state(scan_.kept, group), step.state);
      } else if (cuts[n].resets) {
        copy(start_, step.state);
      } else {
        const Step<T, Model>& last = steps_[n - 1];
        copy(last.state, step.state);
        Model::update(last.trained.x, last.trained.train,
                      last.trained.x.tok_last(), step.state);
      }
      head_.load(scan_, cuts[n], step.trained.x);
      Arena<T> rest = arena;
      const LayerScratch<T> scratch(rest, cuts[n].rows, scan_.shape.head_size,
                                    hidden_size(scan_.shape));
      step.trained.run(norm_, step.state, scratch);
    }
  }

  void run_backward(const Cut& cut, const Step<T, Model>& step,
                    Arena<T> arena) {
    BackwardScratch<T, Model> s(arena, scan_.shape, cut.rows, sums_.dtok);
    mini_batch_backward(
        d_, head_, cut, norm_, step.trained, step.state,
        {step.trained.x.tok_last(), dstate_, &sums_.dtok[cut.rows - 1]},
        dstate_, sums_.dnorm, s);
  }

  void hand_to_start() {
    move(dstate_.first.w, dstart_.first.w);
    move(dstate_.first.b, dstart_.first.b);
    move(dstate_.second.w, dstart_.second.w);
    move(dstate_.second.b, dstart_.second.b);
  }

  static void move(Matrix<T> from, Matrix<T> to) {
    for (int64_t i = 0; i < to.rows; ++i) {
      for (int64_t j = 0; j < to.cols; ++j) to.row(i)[j] += from.row(i)[j];
    }
    fill(from, T(0));
  }

  const TttScan& scan_;
  TttScanGradients& d_;
  std::span<const Cut> cuts_;
  Head<T> head_;
  Norm<T> norm_;
  State<const T> start_;
  State<T> dstate_;  // the gradient of the running state, in dstate_in
  State<T> dstart_;
  HeadSums sums_;
  T* block_;
  std::array<Step<T, Model>, kGroup> steps_;
};

template <class T, class Model>
void forward(Context& ctx, TttScan scan, const Tensor& start,
             const Tensor& state_in, Tensor& state_out) {
  const TttShape& shape = scan.shape;
  const std::vector<Cut> cuts = cut_segments(scan.segments, shape.mini_batch);
  clear_padding(scan.segments, scan.y);
  Arena<T> arena;
  ForwardScratch<T, Model>(arena, shape, shape.mini_batch);
  Tensor scratch = ctx.allocate({shape.heads, arena.size()}, dtype_of<T>());
  const int64_t used = num_groups(std::ssize(cuts)) * shape.state_size();
  T* kept = elements<T>(scan.kept);
  std::fill(kept + used, kept + scan.kept.numel(), T(0));
  T* blocks = elements<T>(scratch);
  parallel_for(shape.heads, [&](int64_t h) {
    forward_head<T, Model>(scan, start, state_in, state_out, cuts, h,
                           blocks + h * arena.size());
  });
}

template <class T, class Model>
void backward(Context& ctx, const TttScan& scan, TttScanGradients& d,
              const Tensor& start, const Tensor& dstate_out, Tensor& dstate_in,
              Tensor& dstart) {
  const TttShape& shape = scan.shape;
  const std::vector<Cut> cuts = cut_segments(scan.segments, shape.mini_batch);
  for (Tensor* t : {&d.dxq, &d.dxk, &d.dxv, &d.dlr}) {
    clear_padding(scan.segments, *t);
  }
  std::fill_n(elements<T>(dstart), dstart.numel(), T(0));
  if (dstate_out.empty()) {
    std::fill_n(elements<T>(dstate_in), dstate_in.numel(), T(0));
  } else {
    std::copy_n(elements<T>(dstate_out), dstate_out.numel(),
                elements<T>(dstate_in));
  }
  const int64_t block_size = BackwardOfHead<T, Model>::block_size(shape);
  const int64_t n = HeadSums::size(shape);
  Tensor scratch = ctx.allocate({shape.heads, block_size}, dtype_of<T>());
  Tensor sums = ctx.zeros({shape.heads, n}, DType::kF64);
  T* blocks = elements<T>(scratch);
  double* head_sums = elements<double>(sums);
  parallel_for(shape.heads, [&](int64_t h) {
    BackwardOfHead<T, Model>(scan, d, start, dstate_in, dstart, cuts, h,
                             blocks + h * block_size, head_sums + h * n)
        .run();
  });
  write_sums<T>(shape, d, head_sums);
}

}  // namespace

int64_t ttt_scan_kept_elements(const TttShape& shape, int64_t tokens) {
  const int64_t b = shape.mini_batch;
  return num_groups((tokens + b - 1) / b) * shape.state_size();
}

void ttt_scan_forward(Context& ctx, const TttScan& scan, const Tensor& start,
                      const Tensor& state_in, Tensor& state_out) {
  dispatch(scan.xq.dtype(), [&](auto zero) {
    using T = decltype(zero);
    if (scan.shape.inner == InnerModel::kLinear) {
      forward<T, LinearModel<T>>(ctx, scan, start, state_in, state_out);
    } else {
      forward<T, MlpModel<T>>(ctx, scan, start, state_in, state_out);
    }
  });
}

void ttt_scan_backward(Context& ctx, const TttScan& scan, TttScanGradients d,
                       const Tensor& start, const Tensor& dstate_out,
                       Tensor& dstate_in, Tensor& dstart) {
  dispatch(scan.xq.dtype(), [&](auto zero) {
    using T = decltype(zero);
    if (scan.shape.inner == InnerModel::kLinear) {
      backward<T, LinearModel<T>>(ctx, scan, d, start, dstate_out, dstate_in,
                                  dstart);
    } else {
      backward<T, MlpModel<T>>(ctx, scan, d, start, dstate_out, dstate_in,
                               dstart);
    }
  });
}

int64_t ttt_scan_scratch_bytes(const TttShape& shape, DType dtype) {
  int64_t head_bytes = 0;
  dispatch(dtype, [&](auto zero) {
    using T = decltype(zero);
    const int64_t block =
        shape.inner == InnerModel::kLinear
            ? BackwardOfHead<T, LinearModel<T>>::block_size(shape)
            : BackwardOfHead<T, MlpModel<T>>::block_size(shape);
    head_bytes =
        block * size_of(dtype) + HeadSums::size(shape) * size_of(DType::kF64);
  });
  return shape.heads * head_bytes;
}

}  // namespace timepipe::cpu
