#include "kernels/cuda/ttt_scan_parts.cuh"

// What is left when the backward chains are through.

namespace timepipe::cuda::ttt {

template <class T>
__global__ void ttt_scan_backward_finish(BackwardFinish<T> args) {
  const Scan<T>& scan = args.scan;
  const RowGradients<T>& d = args.d;
  const int64_t H = scan.shape.heads;
  const Cut cut = scan.cuts[blockIdx.x / H];  // of a place
  const Cut padding = padding_after(scan, cut);
  const Head<T> head{scan.shape, blockIdx.x % H};
  const Matrix<T> dk = head.rows(args.passed.dk, cut);
  const Matrix<T> dtarget = head.rows(args.passed.dtarget, cut);
  head.store([=](int i, int j) { return dk.row(i)[j] - dtarget.row(i)[j]; },
             cut, d.dxk);
  head.store([=](int i, int j) { return dtarget.row(i)[j]; }, cut, d.dxv);
  for (const Activations<T>& dx : {d.dxk, d.dxv}) {
    head.store([](int, int) { return T(0); }, padding, dx);
  }
}

template <class T>
__global__ void ttt_scan_add_starts(const T* dstarts, int64_t members,
                                    int64_t size, T* dstart) {
  const int64_t i = global_thread();
  if (i >= size) return;
  T sum = 0;
  for (int64_t m = 0; m < members; ++m) sum += dstarts[m * size + i];
  dstart[i] = sum;
}

template __global__ void ttt_scan_backward_finish(BackwardFinish<float>);
template __global__ void ttt_scan_backward_finish(BackwardFinish<double>);
template __global__ void ttt_scan_add_starts(const float*, int64_t, int64_t,
                                             float*);
template __global__ void ttt_scan_add_starts(const double*, int64_t, int64_t,
                                             double*);

}  // namespace timepipe::cuda::ttt
