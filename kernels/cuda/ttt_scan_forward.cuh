#pragma once

#include "kernels/cuda/ttt_scan_parts.cuh"

namespace timepipe::cuda::ttt {

// A state on its way through mini-batches, and one of r rows.
template <class T, class Model>
struct ChainScratch {
  State<T> state;
  Trained<T, Model> trained;
  LayerScratch<T> layer;

  ChainScratch() = default;
  __host__ __device__ ChainScratch(Arena<T>& arena, const TttShape& shape,
                                   int r)
      : state(take_state(arena, shape)),
        trained(arena, r, static_cast<int>(shape.head_size)),
        layer(arena, r, static_cast<int>(shape.head_size), hidden_size(shape)) {
  }
};

template <class T, class Model>
__global__ void __launch_bounds__(kMostThreads, 1)
    ttt_scan_chain(ForwardChain<T> args) {
  using Scratch = ChainScratch<T, Model>;
  TIMEPIPE_DYNAMIC_SHARED(T, shared);
  TIMEPIPE_SHARED(double, memory, kSharedDoubles<Scratch>);
  const Scan<T>& scan = args.scan;
  const auto make = [&](int64_t rows) -> Scratch& {
    Arena<T> arena = arena_of_block(args.scratch, shared);
    return make_shared_object<Scratch>(memory, arena, scan.shape,
                                       static_cast<int>(rows));
  };
  for (int64_t i = blockIdx.x; i < scan.chains(); i += gridDim.x) {
    const Head<T> head = head_of_chain(scan, i);
    const Norm<T> norm = norm_of_head(scan.inputs, head);
    const Cut* cuts = scan.cuts + head.member * scan.places;
    const State<const T> start = head.state(args.start, 0);
    const int64_t first_kept = head.member * scan.groups();
    if (head.member == 0) copy(start, kept_start(scan, head, args.kept));

    Scratch& s = make(scan.shape.mini_batch);
    copy(args.states_in == nullptr ? start : head.state(args.states_in),
         s.state);
    for (int64_t n = 0; n < scan.places; ++n) {
      const Cut cut = cuts[n];
      if (cut.resets) copy(start, s.state);
      if (n % kGroup == 0) {
        copy(s.state, head.state(args.kept, first_kept + n / kGroup));
      }
      if (cut.rows == 0) continue;
      make(cut.rows);
      head.load(scan.inputs, cut, s.trained.x);
      __syncthreads();
      s.trained.run(norm, s.state, s.layer);
      Model::update(s.trained.x, s.trained.train, s.trained.x.tok_last(),
                    s.state);
    }
    copy(s.state, head.state(args.states_out));
  }
}

// As the chain, with the test view.
template <class T, class Model>
struct ReadScratch {
  State<T> state;
  ForwardScratch<T, Model> forward;

  ReadScratch() = default;
  __host__ __device__ ReadScratch(Arena<T>& arena, const TttShape& shape, int r)
      : state(take_state(arena, shape)), forward(arena, shape, r) {}
};

template <class T, class Model>
__global__ void __launch_bounds__(kMostThreads, 1)
    ttt_scan_read(ForwardRead<T> args) {
  using Scratch = ReadScratch<T, Model>;
  TIMEPIPE_DYNAMIC_SHARED(T, shared);
  TIMEPIPE_SHARED(double, memory, kSharedDoubles<Scratch>);
  const Scan<T>& scan = args.scan;
  const auto make = [&](int64_t rows) -> Scratch& {
    Arena<T> arena = arena_of_block(args.scratch, shared);
    return make_shared_object<Scratch>(memory, arena, scan.shape,
                                       static_cast<int>(rows));
  };
  const int64_t groups = scan.chains() * scan.groups();
  for (int64_t i = blockIdx.x; i < groups; i += gridDim.x) {
    const Group<T> group(scan, i);
    const Head<T>& head = group.head;
    const Norm<T> norm = norm_of_head(scan.inputs, head);

    Scratch& s = make(scan.shape.mini_batch);
    const auto& [trained, tested, layer] = s.forward;
    copy(head.state(args.kept, group.index), s.state);
    for (int64_t n = group.begin; n < group.end; ++n) {
      const Cut cut = group.cuts[n];
      fill(head.rows(args.y, padding_after(scan, cut)), 0);
      if (cut.rows == 0) continue;
      if (cut.resets) copy(kept_start(scan, head, args.kept), s.state);
      make(cut.rows);
      head.load(scan.inputs, cut, s.forward.trained.x);
      __syncthreads();
      trained.run(norm, s.state, layer);
      tested.run(trained, s.state, layer);
      write_output(norm, trained.x.q, tested.test.z_bar,
                   head.rows(args.y, cut));
      Model::update(trained.x, trained.train, trained.x.tok_last(), s.state);
    }
  }
}

template <class T, class Model>
int64_t scan_chain_size(const TttShape& shape) {
  Arena<T> arena;
  ChainScratch<T, Model>(arena, shape, static_cast<int>(shape.mini_batch));
  return arena.size();
}

template <class T, class Model>
int64_t scan_read_size(const TttShape& shape) {
  Arena<T> arena;
  ReadScratch<T, Model>(arena, shape, static_cast<int>(shape.mini_batch));
  return arena.size();
}

}  // namespace timepipe::cuda::ttt
