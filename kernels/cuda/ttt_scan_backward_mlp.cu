#include "kernels/cuda/ttt_scan_backward.cuh"

namespace timepipe::cuda::ttt {

template __global__ void ttt_scan_backward_read<float, MlpModel<float>>(
    BackwardRead<float>);
template __global__ void ttt_scan_backward_read<double, MlpModel<double>>(
    BackwardRead<double>);
template __global__ void ttt_scan_backward_chain<float, MlpModel<float>>(
    BackwardChain<float>);
template __global__ void ttt_scan_backward_chain<double, MlpModel<double>>(
    BackwardChain<double>);

template int64_t scan_backward_read_size<float, MlpModel<float>>(
    const TttShape&);
template int64_t scan_backward_read_size<double, MlpModel<double>>(
    const TttShape&);
template int64_t scan_backward_chain_size<float, MlpModel<float>>(
    const TttShape&);
template int64_t scan_backward_chain_size<double, MlpModel<double>>(
    const TttShape&);
template int64_t scan_step_size<float, MlpModel<float>>(const TttShape&);
template int64_t scan_step_size<double, MlpModel<double>>(const TttShape&);

}  // namespace timepipe::cuda::ttt
