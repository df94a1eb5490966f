#pragma once

// The kernel of ttt_decode.cuh, for the sources that instantiate it.

#include "kernels/cuda/ttt_decode.cuh"
#include "kernels/cuda/ttt_pass.cuh"

namespace timepipe::cuda::ttt {

template <class T, class Model>
struct DecodeBackwardScratch {
  Trained<T, Model> trained;
  BackwardScratch<T, Model> pass;
  double* dots = nullptr;  // a sum of each thread

  DecodeBackwardScratch() = default;
  __host__ __device__ DecodeBackwardScratch(Arena<T>& arena,
                                            const TttShape& shape, int r,
                                            int threads, double* dtok)
      : trained(arena, r, static_cast<int>(shape.head_size)),
        pass(arena, shape, r, RowSums<double>{dtok}),
        dots(take_sums<double>(arena, (threads + kLanes - 1) / kLanes).lanes) {}
};

// Zero if there is none.
template <class T>
__device__ void copy_or_clear(const Head<T>& head, const T* flat,
                              const State<T>& to) {
  if (flat == nullptr) return fill(to, 0);
  copy(head.state(flat), to);
}

// Sum of a * b over this thread's elements of two states.
template <class T>
__device__ double own_inner_product(const State<T>& a, const State<T>& b) {
  double sum = 0;
  for_each_matrix(a, b, [&](auto x, auto y) {
    for_each_element(x, [&](int i, int j) {
      sum +=
          static_cast<double>(x.row(i)[j]) * static_cast<double>(y.row(i)[j]);
    });
  });
  return sum;
}

// Sets dstate, `after` and dsum_in to what arrives from state_last and sum_out,
// M being the sum after the rows: state_last = state - tok_last M, sum_out = M.
template <class T, class Model>
__device__ void last_state_backward(const DecodeBackward<T>& args,
                                    const Head<T>& head,
                                    const DecodeBackwardScratch<T, Model>& s) {
  const MiniBatch<T>& x = s.trained.x;
  const State<T> dstate = head.state(args.dstate);
  const State<T> after = head.state(args.after);
  const State<T> dsum = head.state(args.dsum_in);
  copy_or_clear(head, args.dstate_last, dstate);
  copy_or_clear(head, args.dsum_out, after);
  if (args.dstate_last != nullptr) {
    add_scaled(-x.tok_last(), dstate, after);
    // M stands in dsum_in for a while.
    copy(head.state(args.sum_in), dsum);
    Model::update(x, s.trained.train, T(-1), dsum);
    s.dots[threadIdx.x] = own_inner_product(dsum, dstate);
    __syncthreads();
    for_each_lane(1, [&](int, int lane) {
      double sum = 0;
      for (int n = lane; n < static_cast<int>(blockDim.x); n += kLanes) {
        sum += s.dots[n];
      }
      s.pass.d.dtok.of(x.rows() - 1, lane) -= sum;
    });
  }
  copy(after, dsum);
  __syncthreads();
}

template <class T, class Model>
__global__ void ttt_decode_backward(DecodeBackward<T> args) {
  using Scratch = DecodeBackwardScratch<T, Model>;
  TIMEPIPE_DYNAMIC_SHARED(T, shared);
  TIMEPIPE_SHARED(double, memory, kSharedDoubles<Scratch>);
  const Head<T> head{args.shape, blockIdx.x};
  const Cut all{0, args.rows, false};
  const Norm<T> norm = norm_of_head(args.inputs.ln_w, args.inputs.ln_b,
                                    args.shape.head_size, head.head);
  const HeadSums sums(args.shape,
                      args.sums + head.head * HeadSums::size(args.shape));
  Arena<T> arena(args.scratch == nullptr
                     ? shared
                     : args.scratch + head.head * args.scratch_size);
  Scratch& s = make_shared_object<Scratch>(memory, arena, args.shape, all.rows,
                                           static_cast<int>(blockDim.x),
                                           sums.dtok.lanes);
  // Only read.
  const State<T> state = head.state(const_cast<T*>(args.state));
  head.load(args.inputs, all, s.trained.x);
  if (threadIdx.x == 0) {
    s.trained.x.sum = head.state(const_cast<T*>(args.sum_in));
    s.pass.d.dsum = head.state(args.dsum_in);
  }
  __syncthreads();
  s.trained.run(norm, state, s.pass.layer);
  last_state_backward(args, head, s);
  mini_batch_backward(args.d, head, all, norm, s.trained, state,
                      {T(-1), head.state(args.after), /*drate=*/nullptr},
                      head.state(args.dstate), sums.dnorm, s.pass);
}

template <class T, class Model>
int64_t decode_backward_size(const TttShape& shape, int rows, int threads) {
  Arena<T> arena;
  DecodeBackwardScratch<T, Model>(arena, shape, rows, threads, nullptr);
  return arena.size();
}

}  // namespace timepipe::cuda::ttt
