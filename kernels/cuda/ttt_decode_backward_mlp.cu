#include "kernels/cuda/ttt_decode_backward.cuh"

namespace timepipe::cuda::ttt {

template __global__ void ttt_decode_backward<float, MlpModel<float>>(
    DecodeBackward<float>);
template __global__ void ttt_decode_backward<double, MlpModel<double>>(
    DecodeBackward<double>);

template int64_t decode_backward_size<float, MlpModel<float>>(const TttShape&,
                                                              int, int);
template int64_t decode_backward_size<double, MlpModel<double>>(const TttShape&,
                                                                int, int);

}  // namespace timepipe::cuda::ttt
