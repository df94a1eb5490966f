#pragma once

#include "kernels/cuda/ttt_scan_parts.cuh"

namespace timepipe::cuda::ttt {

// f(a mini-batch's matrix here, its rows in `passed`) for what the reads pass
// on.
template <class T, class F>
__device__ void for_each_passed(const Passed<T>& passed, const Head<T>& head,
                                const Cut& cut,
                                const typename LinearModel<T>::Gradients& d,
                                const typename LinearModel<T>::Test&, F&& f) {
  f(d.dk, head.rows(passed.dk, cut));
  f(d.dz_bar, head.rows(passed.dz_bar, cut));
  f(d.dz, head.rows(passed.dz, cut));
}
template <class T, class F>
__device__ void for_each_passed(const Passed<T>& passed, const Head<T>& head,
                                const Cut& cut,
                                const typename MlpModel<T>::Gradients& d,
                                const typename MlpModel<T>::Test& test, F&& f) {
  for_each_passed<T>(passed, head, cut, d, typename LinearModel<T>::Test{}, f);
  f(d.dz1_bar, head.hidden_rows(passed.dz1_bar, cut));
  f(d.dz1, head.hidden_rows(passed.dz1, cut));
  f(d.dx2, head.hidden_rows(passed.dx2, cut));
  f(test.x2_bar, head.hidden_rows(passed.x2_bar, cut));
}

// As the forward's reads, with what comes back from dy.
template <class T, class Model>
struct BackwardReadScratch {
  State<T> state;
  ForwardScratch<T, Model> forward;
  typename Model::Gradients d;
  Matrix<T> dy;  // [r,D]

  BackwardReadScratch() = default;
  __host__ __device__ BackwardReadScratch(Arena<T>& arena,
                                          const TttShape& shape, int r,
                                          RowSums<double> dtok)
      : state(take_state(arena, shape)),
        forward(arena, shape, r),
        d(arena, r, static_cast<int>(shape.head_size), dtok),
        dy(arena.take(r, static_cast<int>(shape.head_size))) {}
};

template <class T, class Model>
__global__ void __launch_bounds__(kMostThreads, 1)
    ttt_scan_backward_read(BackwardRead<T> args) {
  using Scratch = BackwardReadScratch<T, Model>;
  TIMEPIPE_DYNAMIC_SHARED(T, shared);
  TIMEPIPE_SHARED(double, memory, kSharedDoubles<Scratch>);
  const Scan<T>& scan = args.scan;
  const TttShape& shape = scan.shape;
  const int64_t groups = scan.chains() * scan.groups();
  for (int64_t i = blockIdx.x; i < groups; i += gridDim.x) {
    const Group<T> group(scan, i);
    const Head<T>& head = group.head;
    const Norm<T> norm = norm_of_head(scan.inputs, head);
    double* const sum = args.passed.group_sums + i * HeadSums::size(shape);
    const HeadSums sums(shape, sum);
    for (int64_t j = threadIdx.x; j < HeadSums::size(shape); j += blockDim.x) {
      sum[j] = 0;
    }
    const auto make = [&](int64_t rows) -> Scratch& {
      Arena<T> arena = arena_of_block(args.scratch, shared);
      return make_shared_object<Scratch>(memory, arena, shape,
                                         static_cast<int>(rows), sums.dtok);
    };

    Scratch& s = make(shape.mini_batch);
    const auto& [trained, tested, layer] = s.forward;
    copy(head.state(args.kept, group.index), s.state);
    for (int64_t n = group.begin; n < group.end; ++n) {
      const Cut cut = group.cuts[n];
      const Cut padding = padding_after(scan, cut);
      head.store([](int, int) { return T(0); }, padding, args.d.dxq);
      head.store_rate([](int) { return T(0); }, padding, args.d.dlr);
      if (cut.rows == 0) continue;
      if (cut.resets) copy(kept_start(scan, head, args.kept), s.state);
      make(cut.rows);
      const Matrix<T> dy = s.dy, dq = s.d.dq;
      head.load(scan.inputs, cut, s.forward.trained.x);
      copy(head.rows(args.d.dy, cut), dy);
      fill(s.d.dk, 0);
      __syncthreads();
      trained.run(norm, s.state, layer);
      tested.run(trained, s.state, layer);
      read_gradients(norm, trained, s.state, tested, dy, s.d, sums.dnorm,
                     layer);
      head.store([=](int i, int j) { return dy.row(i)[j] + dq.row(i)[j]; }, cut,
                 args.d.dxq);
      for_each_passed<T>(args.passed, head, cut, s.d, tested.test,
                         [](auto here, auto there) { copy(here, there); });
      Model::update(trained.x, trained.train, trained.x.tok_last(), s.state);
    }
  }
}

// One place of a group that is run again: its mini-batch of r rows and the
// state before it.
template <class T, class Model>
struct Step {
  State<T> state;
  Trained<T, Model> trained;

  Step() = default;
  __host__ __device__ Step(Arena<T>& arena, const TttShape& shape, int r,
                           const T* tok)
      : state(take_state(arena, shape)),
        trained(arena, r, static_cast<int>(shape.head_size)) {
    trained.x.tok = tok;
  }
};

// What the backward needs for a mini-batch of r rows, beside its step.
template <class T, class Model>
struct BackwardChainScratch {
  typename Model::Test test;
  typename Model::Gradients d;
  Matrix<T> dtarget;  // [r,D]
  LayerScratch<T> layer;

  BackwardChainScratch() = default;
  __host__ __device__ BackwardChainScratch(Arena<T>& arena,
                                           const TttShape& shape, int r,
                                           RowSums<double> dtok)
      : test(arena, r, static_cast<int>(shape.head_size)),
        d(arena, r, static_cast<int>(shape.head_size), dtok),
        dtarget(arena.take(r, static_cast<int>(shape.head_size))),
        layer(arena, r, static_cast<int>(shape.head_size), hidden_size(shape)) {
  }
};

// The backward of one chain. All threads of the block have the same.
template <class T, class Model>
class BackwardOfChain {
 public:
  using Scratch = BackwardChainScratch<T, Model>;
  using StepOf = Step<T, Model>;
  struct Gradients {
    State<T> state, start;  // of the running state; of the learned start

    Gradients() = default;
    __device__ Gradients(const State<T>& state, const State<T>& start)
        : state(state), start(start) {}
  };
  // Doubles of the objects that the block shares.
  static constexpr int kStep = kSharedDoubles<StepOf>;
  static constexpr int kShared =
      kSharedDoubles<Scratch> + kSharedDoubles<Gradients> + 2 * kStep;

  __device__ BackwardOfChain(const BackwardChain<T>& args, const Head<T>& head,
                             T* shared, double* memory)
      : args_(args),
        scan_(args.scan),
        head_(head),
        norm_(norm_of_head(args.scan.inputs, head)),
        sums_(args.scan.shape, chain_sums()),
        shared_(shared),
        memory_(memory),
        steps_memory_(memory + kSharedDoubles<Scratch> +
                      kSharedDoubles<Gradients>) {}

  __device__ void run() {
    const Gradients& d = make_shared_object<Gradients>(
        memory_ + kSharedDoubles<Scratch>, head_.state(args_.dstates_in),
        head_.state(args_.dstarts));
    if (args_.dstates_out == nullptr) {
      fill(d.state, 0);
    } else {
      copy(head_.state(args_.dstates_out), d.state);
    }
    fill(d.start, 0);
    add_group_sums();
    for (int64_t g = scan_.groups() - 1; g >= 0; --g) {
      const Group<T> group(scan_, head_, g);
      run_forward(group);
      for (int64_t n = group.end - 1; n >= group.begin; --n) {
        const Cut cut = group.cuts[n];
        if (cut.rows > 0) run_backward(cut, make_step(group, n, 0), d);
        if (cut.resets) hand_to_start(d);
      }
    }
  }

 private:
  // The train views of one group, from the state kept before it.
  __device__ void run_forward(const Group<T>& group) {
    const StepOf* last = nullptr;
    int slot = 0;
    for (int64_t n = group.begin; n < group.end; ++n) {
      const Cut cut = group.cuts[n];
      if (cut.rows == 0) continue;
      const Scratch& s = make_scratch(cut.rows);
      StepOf& step = make_step(group, n, slot);
      if (cut.resets) {
        copy(kept_start(scan_, head_, args_.kept), step.state);
      } else if (last == nullptr) {
        copy(head_.state(args_.kept, group.index), step.state);
      } else {
        const auto& [x, train] = last->trained;
        copy(last->state, step.state);
        Model::update(x, train, x.tok_last(), step.state);
      }
      head_.load(scan_.inputs, cut, step.trained.x);
      __syncthreads();
      step.trained.run(norm_, step.state, s.layer);
      last = &step;
      slot = 1 - slot;
    }
  }

  __device__ void run_backward(const Cut& cut, const StepOf& step,
                               const Gradients& running) {
    Scratch& s = make_scratch(cut.rows);
    const auto& d = s.d;
    for_each_passed<T>(args_.passed, head_, cut, d, s.test,
                       [](auto here, auto there) { copy(there, here); });
    for_each_lane(cut.rows, [&](int i, int lane) { d.dlr.of(i, lane) = 0; });
    __syncthreads();
    train_gradients(norm_, step.trained, step.state, s.test,
                    {step.trained.x.tok_last(), running.state,
                     &sums_.dtok.of(cut.rows - 1, 0)},
                    running.state, d, s.dtarget, sums_.dnorm, s.layer);
    copy(d.dk, head_.rows(args_.passed.dk, cut));
    copy(s.dtarget, head_.rows(args_.passed.dtarget, cut));
    head_.store_rate([&](int i) { return static_cast<T>(d.dlr[i]); }, cut,
                     args_.dlr);
  }

  __device__ static void hand_to_start(const Gradients& d) {
    for_each_matrix(d.state, d.start, [](auto from, auto to) {
      for_each_element(to, [&](int i, int j) {
        to.row(i)[j] += from.row(i)[j];
        from.row(i)[j] = 0;
      });
    });
  }

  // What the reads of the chain's groups gave, in order.
  __device__ void add_group_sums() {
    const int64_t size = HeadSums::size(scan_.shape);
    const int64_t apart = scan_.shape.heads * size;
    const double* const first = args_.passed.group_sums +
                                head_.member * scan_.groups() * apart +
                                head_.head * size;
    for (int64_t j = threadIdx.x; j < size; j += blockDim.x) {
      double sum = 0;
      for (int64_t g = 0; g < scan_.groups(); ++g) sum += first[g * apart + j];
      chain_sums()[j] = sum;
    }
  }

  __device__ double* chain_sums() const {
    return args_.passed.chain_sums +
           (head_.member * scan_.shape.heads + head_.head) *
               HeadSums::size(scan_.shape);
  }

  __device__ Scratch& make_scratch(int rows) {
    Arena<T> arena = arena_of_block(args_.scratch, shared_);
    return make_shared_object<Scratch>(memory_, arena, scan_.shape, rows,
                                       sums_.dtok);
  }
  // In one of two slots, so that two steps can be there.
  __device__ StepOf& make_step(const Group<T>& group, int64_t n, int slot) {
    Arena<T> arena(args_.steps +
                   (blockIdx.x * int64_t{kGroup} + n - group.begin) *
                       args_.step_size);
    return make_shared_object<StepOf>(steps_memory_ + slot * kStep, arena,
                                      scan_.shape, group.cuts[n].rows,
                                      scan_.inputs.tok);
  }

  const BackwardChain<T>& args_;
  const Scan<T>& scan_;
  Head<T> head_;
  Norm<T> norm_;
  HeadSums sums_;
  T* shared_;
  double *memory_, *steps_memory_;
};

template <class T, class Model>
__global__ void __launch_bounds__(kMostThreads, 1)
    ttt_scan_backward_chain(BackwardChain<T> args) {
  using Backward = BackwardOfChain<T, Model>;
  TIMEPIPE_DYNAMIC_SHARED(T, shared);
  TIMEPIPE_SHARED(double, memory, Backward::kShared);
  for (int64_t i = blockIdx.x; i < args.scan.chains(); i += gridDim.x) {
    Backward(args, head_of_chain(args.scan, i), shared, memory).run();
  }
}

template <class T, class Model>
int64_t scan_backward_read_size(const TttShape& shape) {
  Arena<T> arena;
  BackwardReadScratch<T, Model>(arena, shape,
                                static_cast<int>(shape.mini_batch), {});
  return arena.size();
}

template <class T, class Model>
int64_t scan_backward_chain_size(const TttShape& shape) {
  Arena<T> arena;
  BackwardChainScratch<T, Model>(arena, shape,
                                 static_cast<int>(shape.mini_batch), {});
  return arena.size();
}

template <class T, class Model>
int64_t scan_step_size(const TttShape& shape) {
  Arena<T> arena;
  Step<T, Model>(arena, shape, static_cast<int>(shape.mini_batch), nullptr);
  return arena.size();
}

}  // namespace timepipe::cuda::ttt
