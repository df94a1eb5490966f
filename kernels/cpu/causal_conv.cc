// Depthwise causal convolution on host memory, segment by segment.

#include "kernels/causal_conv.h"

#include <algorithm>
#include <cstring>

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/sums.h"
#include "runtime/parallel_for.h"

namespace timepipe::cpu {
namespace {

// First row that windows of the segment may read; before its own: in the halo.
int64_t first_row(const Segment& s, int64_t k) {
  return s.row - std::min(k - 1, s.context);
}

// The chunk's rows with the halos, [members,k-1,C], before those of members.
template <class T>
struct Rows {
  T *chunk, *halos;
  int64_t k, C;

  // Row t of the segment, which is its first or follows that; or one of the k-1
  // before.
  T* at(const Segment& segment, int64_t t) const {
    if (t >= segment.row) return chunk + t * C;
    const int64_t in_halo = t - segment.row + k - 1;
    return halos + (segment.member * (k - 1) + in_halo) * C;
  }
};

template <class T>
void zero_padding(Segments segments, int64_t rows, int64_t C, T* x) {
  for_padding(segments, rows, [=](int64_t begin, int64_t end) {
    std::fill(x + begin * C, x + end * C, T(0));
  });
}

// w [C,1,k] as [k,C]: one tap's weights side by side.
template <class T>
Tensor taps_of(Context& ctx, const Tensor& w) {
  const int64_t C = w.dim(0), k = w.dim(2);
  Tensor taps = ctx.allocate({k, C}, w.dtype());
  const T* in = elements<T>(w);
  T* out = elements<T>(taps);
  for (int64_t c = 0; c < C; ++c) {
    for (int64_t j = 0; j < k; ++j) out[j * C + c] = in[c * k + j];
  }
  return taps;
}

template <class T>
void forward_segment(const Segment& segment, const Rows<const T>& x,
                     const T* taps, const T* bias, T* y) {
  const int64_t k = x.k, C = x.C, first = first_row(segment, k);
  parallel_for(segment.rows, [=, &x, &segment](int64_t i) {
    const int64_t t = segment.row + i;
    T* __restrict out = y + t * C;
    std::copy_n(bias, C, out);
    for (int64_t j = 0; j < k; ++j) {
      if (t - k + 1 + j < first) continue;
      const T *in = x.at(segment, t - k + 1 + j), *tap = taps + j * C;
      for (int64_t c = 0; c < C; ++c) out[c] += tap[c] * in[c];
    }
  });
}

// Row s of dx is the sum over taps j of w_j times row s+k-1-j of dy.
template <class T>
void backward_segment_x(const Segment& segment, const T* dy, const T* taps,
                        Write write, const Rows<T>& dx) {
  const int64_t k = dx.k, C = dx.C, first = first_row(segment, k);
  const int64_t end = segment.end_row();
  parallel_for(end - first, [=, &dx, &segment](int64_t i) {
    const int64_t s = first + i;
    T* __restrict out = dx.at(segment, s);
    if (write == Write::kOverwrite) std::fill_n(out, C, T(0));
    for (int64_t j = 0; j < k; ++j) {
      const int64_t t = s + k - 1 - j;
      if (t < segment.row || t >= end) continue;
      const T *in = dy + t * C, *tap = taps + j * C;
      for (int64_t c = 0; c < C; ++c) out[c] += tap[c] * in[c];
    }
  });
}

// Adds columns [begin, end) of dw and dbias: sums [k+1,C], dbias last.
template <class T>
void sum_parameters(const Segment& segment, const T* dy, const Rows<const T>& x,
                    int64_t begin, int64_t end, double* sums) {
  const int64_t k = x.k, C = x.C, last = segment.end_row();
  const auto add = [=](int64_t t, int64_t t_end, const T* in, double* sum) {
    const T* g = dy + t * C;
    add_columns(
        t_end - t, begin, end,
        [=](int64_t n, int64_t c) {
          return static_cast<double>(g[n * C + c]) * in[n * C + c];
        },
        sum);
  };
  for (int64_t j = 0; j < k; ++j) {
    const int64_t delay = k - 1 - j;  // row t of dy meets row t - delay of x
    const int64_t t = std::max(segment.row, first_row(segment, k) + delay);
    const int64_t t_chunk = std::max(t, segment.row + delay);
    if (t < std::min(t_chunk, last)) {
      add(t, std::min(t_chunk, last), x.at(segment, t - delay), sums + j * C);
    }
    if (t_chunk < last) {
      add(t_chunk, last, x.at(segment, t_chunk - delay), sums + j * C);
    }
  }
  add_columns(
      segment.rows, begin, end,
      [=](int64_t n, int64_t c) { return dy[(segment.row + n) * C + c]; },
      sums + k * C);
}

template <class T>
void backward_parameters(Context& ctx, Segments segments, const T* dy,
                         const Rows<const T>& x, T* dw, T* dbias) {
  const int64_t k = x.k, C = x.C;
  Tensor scratch = ctx.zeros({k + 1, C}, DType::kF64);
  double* sums = elements<double>(scratch);
  parallel_pieces(C, kColumns, [=, &x](int64_t begin, int64_t end) {
    for (const Segment& segment : segments) {
      sum_parameters(segment, dy, x, begin, end, sums);
    }
    for (int64_t c = begin; c < end; ++c) {
      for (int64_t j = 0; j < k; ++j) {
        dw[c * k + j] = static_cast<T>(sums[j * C + c]);
      }
      dbias[c] = static_cast<T>(sums[k * C + c]);
    }
  });
}

}  // namespace

void causal_conv_forward(Context& ctx, const Tensor& x, const Tensor& halo,
                         const Tensor& w, const Tensor& bias, Segments segments,
                         Tensor& y) {
  dispatch(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const int64_t C = x.dim(1);
    const Rows<const T> in{elements<T>(x),
                           halo.empty() ? nullptr : elements<T>(halo), w.dim(2),
                           C};
    const Tensor taps = taps_of<T>(ctx, w);
    T* out = elements<T>(y);
    zero_padding(segments, x.dim(0), C, out);
    for (const Segment& segment : segments) {
      forward_segment(segment, in, elements<T>(taps), elements<T>(bias), out);
    }
  });
}

void causal_conv_backward(Context& ctx, const Tensor& dy, const Tensor& x,
                          const Tensor& halo, const Tensor& w,
                          Segments segments, Tensor& dx, Tensor& dhalo,
                          Write write_dx, Tensor& dw, Tensor& dbias) {
  dispatch(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const int64_t C = x.dim(1), k = w.dim(2);
    const Rows<const T> in{elements<T>(x),
                           halo.empty() ? nullptr : elements<T>(halo), k, C};
    const Rows<T> out{elements<T>(dx),
                      dhalo.empty() ? nullptr : elements<T>(dhalo), k, C};
    const Tensor taps = taps_of<T>(ctx, w);
    const T* g = elements<T>(dy);
    if (write_dx == Write::kOverwrite) {
      zero_padding(segments, x.dim(0), C, out.chunk);
      std::fill_n(out.halos, dhalo.numel(), T(0));
    }
    for (const Segment& segment : segments) {
      backward_segment_x(segment, g, elements<T>(taps), write_dx, out);
    }
    backward_parameters(ctx, segments, g, in, elements<T>(dw),
                        elements<T>(dbias));
  });
}

}  // namespace timepipe::cpu
