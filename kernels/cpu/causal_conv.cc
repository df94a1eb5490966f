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
template <class A, class T>
struct Rows {
  A* chunk;
  T* halos;
  int64_t k, C;

  // Calls f with row t of the segment, which is its first or follows that; or
  // with one of the k-1 before.
  template <class F>
  void at(const Segment& segment, int64_t t, F&& f) const {
    if (t >= segment.row) return f(chunk + t * C);
    const int64_t in_halo = t - segment.row + k - 1;
    f(halos + (segment.member * (k - 1) + in_halo) * C);
  }
};

template <class T>
void zero_padding(Segments segments, int64_t rows, int64_t C, T* x) {
  for_padding(segments, rows, [=](int64_t begin, int64_t end) {
    std::fill(x + begin * C, x + end * C, T{});
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

// Columns [begin, begin + n) of row t.
template <class A, class T>
void forward_piece(const Segment& segment, const Rows<const A, const T>& x,
                   int64_t t, const T* taps, const T* bias, int64_t begin,
                   int64_t n, T* sum) {
  const int64_t first = first_row(segment, x.k);
  std::copy_n(bias + begin, n, sum);
  for (int64_t j = 0; j < x.k; ++j) {
    const int64_t read = t - x.k + 1 + j;
    if (read < first) continue;
    x.at(segment, read, [=, &x](const auto* row) {
      const auto* in = row + begin;
      const T* tap = taps + j * x.C + begin;
      for (int64_t c = 0; c < n; ++c) sum[c] += tap[c] * in[c];
    });
  }
}

template <class A, class T>
void forward_segment(const Segment& segment, const Rows<const A, const T>& x,
                     const T* taps, const T* bias, A* y) {
  constexpr int64_t kPiece = 512;
  parallel_for(segment.rows, [=, &x, &segment](int64_t i) {
    const int64_t t = segment.row + i;
    T sum[kPiece];
    for (int64_t begin = 0; begin < x.C; begin += kPiece) {
      const int64_t n = std::min(kPiece, x.C - begin);
      forward_piece(segment, x, t, taps, bias, begin, n, sum);
      A* out = y + t * x.C + begin;
      for (int64_t c = 0; c < n; ++c) out[c] = static_cast<A>(sum[c]);
    }
  });
}

// Row s of dx is the sum over taps j of w_j times row s+k-1-j of dy.
template <class A, class T>
void backward_segment_x(const Segment& segment, const A* dy, const T* taps,
                        Write write, const Rows<T, T>& dx) {
  const int64_t k = dx.k, C = dx.C, first = first_row(segment, k);
  const int64_t end = segment.end_row();
  parallel_for(end - first, [=, &dx, &segment](int64_t i) {
    const int64_t s = first + i;
    dx.at(segment, s, [=, &segment](T* __restrict out) {
      if (write == Write::kOverwrite) std::fill_n(out, C, T(0));
      for (int64_t j = 0; j < k; ++j) {
        const int64_t t = s + k - 1 - j;
        if (t < segment.row || t >= end) continue;
        const A* in = dy + t * C;
        const T* tap = taps + j * C;
        for (int64_t c = 0; c < C; ++c) out[c] += tap[c] * in[c];
      }
    });
  });
}

// Adds columns [begin, end) of dw and dbias: sums [k+1,C], dbias last.
template <class A, class T>
void sum_parameters(const Segment& segment, const A* dy,
                    const Rows<const A, const T>& x, int64_t begin, int64_t end,
                    double* sums) {
  const int64_t k = x.k, C = x.C, last = segment.end_row();
  // Rows of x from that `delay` before t on, which lie one after the other.
  const auto add = [=, &x, &segment](int64_t t, int64_t t_end, int64_t delay,
                                     double* sum) {
    const A* g = dy + t * C;
    x.at(segment, t - delay, [=](const auto* in) {
      add_columns(
          t_end - t, begin, end,
          [=](int64_t n, int64_t c) {
            return static_cast<double>(static_cast<T>(g[n * C + c])) *
                   static_cast<T>(in[n * C + c]);
          },
          sum);
    });
  };
  for (int64_t j = 0; j < k; ++j) {
    const int64_t delay = k - 1 - j;  // row t of dy meets row t - delay of x
    const int64_t t = std::max(segment.row, first_row(segment, k) + delay);
    const int64_t t_chunk = std::max(t, segment.row + delay);
    if (t < std::min(t_chunk, last)) {
      add(t, std::min(t_chunk, last), delay, sums + j * C);
    }
    if (t_chunk < last) {
      add(t_chunk, last, delay, sums + j * C);
    }
  }
  add_columns(
      segment.rows, begin, end,
      [=](int64_t n, int64_t c) {
        return static_cast<T>(dy[(segment.row + n) * C + c]);
      },
      sums + k * C);
}

template <class A, class T>
void backward_parameters(Context& ctx, Segments segments, const A* dy,
                         const Rows<const A, const T>& x, T* dw, T* dbias) {
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
  dispatch_stored(x.dtype(), [&](auto zero) {
    using A = decltype(zero);
    using T = Wide<A>;
    const int64_t C = x.dim(1);
    const Rows<const A, const T> in{elements<A>(x),
                                    halo.empty() ? nullptr : elements<T>(halo),
                                    w.dim(2), C};
    const Tensor taps = taps_of<T>(ctx, w);
    A* out = elements<A>(y);
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
  dispatch_stored(x.dtype(), [&](auto zero) {
    using A = decltype(zero);
    using T = Wide<A>;
    const int64_t C = x.dim(1), k = w.dim(2);
    const Rows<const A, const T> in{
        elements<A>(x), halo.empty() ? nullptr : elements<T>(halo), k, C};
    const Rows<T, T> out{elements<T>(dx),
                         dhalo.empty() ? nullptr : elements<T>(dhalo), k, C};
    const Tensor taps = taps_of<T>(ctx, w);
    const A* g = elements<A>(dy);
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
