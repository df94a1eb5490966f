#include "kernels/cuda/ttt_decode.cuh"
#include "kernels/cuda/ttt_pass.cuh"

// The dual form of the rows at hand, to which the earlier tokens' gradient sum
// adds one more layer that is read. With one row that is the primal form.

namespace timepipe::cuda::ttt {

template <class T, class Model>
__global__ void ttt_decode_forward(DecodeForward<T> args) {
  using Scratch = ForwardScratch<T, Model>;
  TIMEPIPE_DYNAMIC_SHARED(T, shared);
  TIMEPIPE_SHARED(double, memory, kSharedDoubles<Scratch>);
  const Head<T> head{args.shape, blockIdx.x};
  const Cut all{0, args.rows, false};
  const Norm<T> norm = norm_of_head(args.inputs.ln_w, args.inputs.ln_b,
                                    args.shape.head_size, head.head);
  Arena<T> arena(args.scratch == nullptr
                     ? shared
                     : args.scratch + head.head * args.scratch_size);
  Scratch& s = make_shared_object<Scratch>(memory, arena, args.shape, all.rows);
  MiniBatch<T>& x = s.trained.x;
  // Only read.
  const State<T> state = head.state(const_cast<T*>(args.state));
  const State<T> sum = head.state(args.sum_out);
  if (args.sum_in != args.sum_out) copy(head.state(args.sum_in), sum);
  head.load(args.inputs, all, x);
  if (threadIdx.x == 0) x.sum = sum;
  __syncthreads();
  s.trained.run(norm, state, s.layer);
  s.tested.run(s.trained, state, s.layer);
  write_output(norm, x.q, s.tested.test.z_bar, head.rows(args.y, all));
  Model::update(x, s.trained.train, T(-1), sum);
  if (args.state_last == nullptr) return;
  const T tok_last = x.tok_last();
  const State<T> last = head.state(args.state_last);
  copy(state, last);
  add_scaled(-tok_last, sum, last);
}

template <class T, class Model>
int64_t decode_forward_size(const TttShape& shape, int rows) {
  Arena<T> arena;
  ForwardScratch<T, Model>(arena, shape, rows);
  return arena.size();
}

#define TIMEPIPE_INSTANCES(T, Model)                                          \
  template __global__ void ttt_decode_forward<T, Model<T>>(DecodeForward<T>); \
  template int64_t decode_forward_size<T, Model<T>>(const TttShape&, int)
TIMEPIPE_INSTANCES(float, LinearModel);
TIMEPIPE_INSTANCES(float, MlpModel);
TIMEPIPE_INSTANCES(double, LinearModel);
TIMEPIPE_INSTANCES(double, MlpModel);
#undef TIMEPIPE_INSTANCES

}  // namespace timepipe::cuda::ttt
