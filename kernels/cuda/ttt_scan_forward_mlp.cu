#include "kernels/cuda/ttt_scan_forward.cuh"

namespace timepipe::cuda::ttt {

template __global__ void ttt_scan_chain<float, MlpModel<float>>(
    ForwardChain<float>);
template __global__ void ttt_scan_chain<double, MlpModel<double>>(
    ForwardChain<double>);
template __global__ void ttt_scan_read<float, MlpModel<float>>(
    ForwardRead<float>);
template __global__ void ttt_scan_read<double, MlpModel<double>>(
    ForwardRead<double>);

template int64_t scan_chain_size<float, MlpModel<float>>(const TttShape&);
template int64_t scan_chain_size<double, MlpModel<double>>(const TttShape&);
template int64_t scan_read_size<float, MlpModel<float>>(const TttShape&);
template int64_t scan_read_size<double, MlpModel<double>>(const TttShape&);

}  // namespace timepipe::cuda::ttt
