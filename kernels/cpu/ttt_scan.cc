// The scan of a TTT layer on host memory: the heads of all sequences are shared
// among threads, each goes through its mini-batches in order.

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

// The chain of mini-batches of one member, and where its kept states begin.
struct Chain {
  std::vector<Cut> cuts;
  int64_t first_group = 0;

  int64_t end_group() const {
    return first_group + num_groups(std::ssize(cuts));
  }
};

// Of each member.
std::vector<Chain> chains_of(const TttScan& scan) {
  const int64_t b = scan.shape.mini_batch;
  std::vector<Chain> chains(scan.rows.members);
  for (const Segment& s : scan.segments) {
    for (int64_t i = 0; i < s.rows; i += b) {
      chains[s.member].cuts.push_back(
          {s.row + i, std::min(b, s.rows - i), s.resets && i == 0});
    }
  }
  for (std::size_t m = 1; m < chains.size(); ++m) {
    chains[m].first_group = chains[m - 1].end_group();
  }
  return chains;
}

template <class T, class Model>
void forward_head(TttScan& scan, const Tensor& start, const Tensor& states_in,
                  Tensor& states_out, const Chain& chain, const Head<T>& head,
                  T* block) {
  const Norm<T> norm = norm_of_head<T>(scan.ln_w, scan.ln_b, head.head);
  const State<T> state = head.state(states_out);
  const std::vector<Cut>& cuts = chain.cuts;
  if (cuts.empty() || !cuts[0].resets) copy(head.state(states_in), state);
  for (std::size_t n = 0; n < cuts.size(); ++n) {
    if (cuts[n].resets) copy(head.state(start, 0), state);
    if (n % kGroup == 0) {
      copy(state, head.state(scan.kept, chain.first_group + n / kGroup));
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
  // dstart: of this member alone.
  BackwardOfHead(const TttScan& scan, TttScanGradients& d, const Tensor& start,
                 Tensor& dstates_in, Tensor& dstart, const Chain& chain,
                 const Head<T>& head, T* block, double* sums)
      : scan_(scan),
        d_(d),
        chain_(chain),
        head_(head),
        norm_(norm_of_head<T>(scan.ln_w, scan.ln_b, head.head)),
        start_(head.state(start, 0)),
        dstate_(head.state(dstates_in)),
        dstart_(head.state(dstart, 0)),
        sums_(scan.shape, sums),
        block_(block) {}

  void run() {
    const std::span<const Cut> cuts = chain_.cuts;
    const int64_t N = std::ssize(cuts);
    for (int64_t group = num_groups(N) - 1; group >= 0; --group) {
      const int64_t begin = group * kGroup, end = std::min(N, begin + kGroup);
      Arena<T> arena(block_);
      run_forward(group, cuts.subspan(begin, end - begin), arena);
      for (int64_t n = end - 1; n >= begin; --n) {
        run_backward(cuts[n], steps_[n - begin], arena);
        if (cuts[n].resets) hand_to_start();
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
        copy(head_.state(scan_.kept, chain_.first_group + group), step.state);
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
  const Chain& chain_;
  Head<T> head_;
  Norm<T> norm_;
  State<const T> start_;
  State<T> dstate_;  // the gradient of the running state, in dstates_in
  State<T> dstart_;
  HeadSums sums_;
  T* block_;
  std::array<Step<T, Model>, kGroup> steps_;
};

// Blocks of scratch, one for each thread that takes part in so many chains.
template <class T>
Tensor take_scratch(Context& ctx, int64_t chains, int64_t block_size) {
  return ctx.allocate({std::min(chains, max_threads()), block_size},
                      dtype_of<T>());
}

template <class T, class Model>
void forward(Context& ctx, TttScan scan, const Tensor& start,
             const Tensor& states_in, Tensor& states_out) {
  const TttShape& shape = scan.shape;
  const std::vector<Chain> chains = chains_of(scan);
  clear_padding(scan.segments, scan.y);
  const int64_t used = chains.back().end_group() * shape.state_size();
  T* kept = elements<T>(scan.kept);
  std::fill(kept + used, kept + scan.kept.numel(), T(0));
  Arena<T> arena;
  ForwardScratch<T, Model>(arena, shape, shape.mini_batch);
  const int64_t n = scan.rows.members * shape.heads;
  Tensor scratch = take_scratch<T>(ctx, n, arena.size());
  T* blocks = elements<T>(scratch);
  parallel_for(n, [&](int64_t i, int64_t thread) {
    const Head<T> head{shape, i % shape.heads, i / shape.heads};
    forward_head<T, Model>(scan, start, states_in, states_out,
                           chains[head.member], head,
                           blocks + thread * arena.size());
  });
}

template <class T, class Model>
void backward(Context& ctx, const TttScan& scan, TttScanGradients& d,
              const Tensor& start, const Tensor& dstates_out,
              Tensor& dstates_in, Tensor& dstart) {
  const TttShape& shape = scan.shape;
  const std::vector<Chain> chains = chains_of(scan);
  for (Tensor* t : {&d.dxq, &d.dxk, &d.dxv, &d.dlr}) {
    clear_padding(scan.segments, *t);
  }
  // The first member's is dstart itself.
  std::vector<Tensor> dstarts{dstart};
  while (dstarts.size() < chains.size()) {
    dstarts.push_back(ctx.allocate(dstart.shape(), dstart.dtype()));
  }
  for (Tensor& t : dstarts) std::fill_n(elements<T>(t), t.numel(), T(0));
  if (dstates_out.empty()) {
    std::fill_n(elements<T>(dstates_in), dstates_in.numel(), T(0));
  } else {
    std::copy_n(elements<T>(dstates_out), dstates_out.numel(),
                elements<T>(dstates_in));
  }
  const int64_t n = scan.rows.members * shape.heads;
  const int64_t block_size = BackwardOfHead<T, Model>::block_size(shape);
  const int64_t sums_size = HeadSums::size(shape);
  Tensor scratch = take_scratch<T>(ctx, n, block_size);
  Tensor sums = ctx.zeros({n, sums_size}, DType::kF64);
  T* blocks = elements<T>(scratch);
  double* head_sums = elements<double>(sums);
  parallel_for(n, [&](int64_t i, int64_t thread) {
    const Head<T> head{shape, i % shape.heads, i / shape.heads};
    BackwardOfHead<T, Model>(
        scan, d, start, dstates_in, dstarts[head.member], chains[head.member],
        head, blocks + thread * block_size, head_sums + i * sums_size)
        .run();
  });
  write_sums<T>(shape, scan.rows.members, d, head_sums);
  for (std::size_t m = 1; m < dstarts.size(); ++m) {
    const T* more = elements<T>(std::as_const(dstarts[m]));
    T* sum = elements<T>(dstart);
    for (int64_t i = 0; i < dstart.numel(); ++i) sum[i] += more[i];
  }
}

}  // namespace

int64_t ttt_scan_kept_elements(const TttShape& shape, const ChunkRows& rows) {
  const int64_t mini_batches =
      (rows.tokens + shape.mini_batch - 1) / shape.mini_batch;
  return rows.members * num_groups(mini_batches) * shape.state_size();
}

// The chain does all.
int64_t ttt_scan_passed_elements(const TttShape&, const ChunkRows&) {
  return 0;
}
void ttt_scan_prepare(Context&, const TttScan&) {}
void ttt_scan_read(Context&, TttScan) {}
void ttt_scan_backward_read(Context&, const TttScan&, TttScanGradients) {}
void ttt_scan_backward_finish(Context&, const TttScan&, TttScanGradients) {}

void ttt_scan_forward(Context& ctx, TttScan scan, const Tensor& start,
                      const Tensor& states_in, Tensor& states_out) {
  dispatch(scan.lr.dtype(), [&](auto zero) {
    using T = decltype(zero);
    if (scan.shape.inner == InnerModel::kLinear) {
      forward<T, LinearModel<T>>(ctx, scan, start, states_in, states_out);
    } else {
      forward<T, MlpModel<T>>(ctx, scan, start, states_in, states_out);
    }
  });
}

void ttt_scan_backward(Context& ctx, const TttScan& scan, TttScanGradients d,
                       const Tensor& start, const Tensor& dstates_out,
                       Tensor& dstates_in, Tensor& dstart) {
  dispatch(scan.lr.dtype(), [&](auto zero) {
    using T = decltype(zero);
    if (scan.shape.inner == InnerModel::kLinear) {
      backward<T, LinearModel<T>>(ctx, scan, d, start, dstates_out, dstates_in,
                                  dstart);
    } else {
      backward<T, MlpModel<T>>(ctx, scan, d, start, dstates_out, dstates_in,
                               dstart);
    }
  });
}

int64_t ttt_scan_scratch_bytes(const TttShape& shape, const ChunkRows& rows,
                               DType dtype) {
  int64_t bytes = 0;
  dispatch(dtype, [&](auto zero) {
    using T = decltype(zero);
    const int64_t block =
        shape.inner == InnerModel::kLinear
            ? BackwardOfHead<T, LinearModel<T>>::block_size(shape)
            : BackwardOfHead<T, MlpModel<T>>::block_size(shape);
    const int64_t chains = rows.members * shape.heads;
    bytes = std::min(chains, max_threads()) * block * size_of(dtype) +
            chains * HeadSums::size(shape) * size_of(DType::kF64) +
            (rows.members - 1) * shape.state_size() * size_of(dtype);
  });
  return bytes;
}

}  // namespace timepipe::cpu
