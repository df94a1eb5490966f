#include "kernels/cuda/ttt_scan_backward.cuh"

namespace timepipe::cuda::ttt {

template __global__ void ttt_scan_backward_read<float, LinearModel<float>>(
    BackwardRead<float>);
template __global__ void ttt_scan_backward_read<double, LinearModel<double>>(
    BackwardRead<double>);
template __global__ void ttt_scan_backward_chain<float, LinearModel<float>>(
    BackwardChain<float>);
template __global__ void ttt_scan_backward_chain<double, LinearModel<double>>(
    BackwardChain<double>);

template int64_t scan_backward_read_size<float, LinearModel<float>>(
    const TttShape&);
template int64_t scan_backward_read_size<double, LinearModel<double>>(
    const TttShape&);
template int64_t scan_backward_chain_size<float, LinearModel<float>>(
    const TttShape&);
template int64_t scan_backward_chain_size<double, LinearModel<double>>(
    const TttShape&);
template int64_t scan_step_size<float, LinearModel<float>>(const TttShape&);
template int64_t scan_step_size<double, LinearModel<double>>(const TttShape&);

}  // namespace timepipe::cuda::ttt
