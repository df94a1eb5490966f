#include "kernels/cuda/ttt_decode_backward.cuh"

namespace timepipe::cuda::ttt {

template __global__ void ttt_decode_backward<float, LinearModel<float>>(
    DecodeBackward<float>);
template __global__ void ttt_decode_backward<double, LinearModel<double>>(
    DecodeBackward<double>);

template int64_t decode_backward_size<float, LinearModel<float>>(
    const TttShape&, int, int);
template int64_t decode_backward_size<double, LinearModel<double>>(
    const TttShape&, int, int);

}  // namespace timepipe::cuda::ttt
