#include "kernels/cuda/ttt_scan_forward.cuh"

namespace timepipe::cuda::ttt {

template __global__ void ttt_scan_chain<float, LinearModel<float>>(
    ForwardChain<float>);
template __global__ void ttt_scan_chain<double, LinearModel<double>>(
    ForwardChain<double>);
template __global__ void ttt_scan_read<float, LinearModel<float>>(
    ForwardRead<float>);
template __global__ void ttt_scan_read<double, LinearModel<double>>(
    ForwardRead<double>);

template int64_t scan_chain_size<float, LinearModel<float>>(const TttShape&);
template int64_t scan_chain_size<double, LinearModel<double>>(const TttShape&);
template int64_t scan_read_size<float, LinearModel<float>>(const TttShape&);
template int64_t scan_read_size<double, LinearModel<double>>(const TttShape&);

}  // namespace timepipe::cuda::ttt
