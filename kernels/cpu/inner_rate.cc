// The inner learner's rates on host memory: of each token, and of its place in
// the mini-batch.

#include "kernels/inner_rate.h"

#include <algorithm>

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/elementary.h"
#include "kernels/cpu/sums.h"
#include "runtime/parallel_for.h"

namespace timepipe::cpu {
namespace {

// The gradient at the sigmoids' arguments: [T,H].
template <class T>
void gate_gradient(int64_t n, const T* dlr, const T* gate, double scale,
                   double* ds) {
  constexpr int64_t kPiece = 4096;
  parallel_pieces(n, kPiece, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const double g = gate[i];
      ds[i] = dlr[i] * scale * g * (1 - g);
    }
  });
}

template <class T>
void backward_u(int64_t rows, int64_t H, int64_t C, const double* ds,
                const T* w, T* du) {
  parallel_for(rows, [=](int64_t t) {
    T* out = du + t * C;
    for (int64_t h = 0; h < H; ++h) {
      const T d = static_cast<T>(ds[t * H + h]);
      for (int64_t c = 0; c < C; ++c) out[c] += d * w[h * C + c];
    }
  });
}

// sums: [H,C], zero on entry.
template <class T, class A>
void backward_w(int64_t rows, int64_t H, int64_t C, const double* ds,
                const A* u, double* sums, T* dw) {
  parallel_pieces(C, kColumns, [=](int64_t begin, int64_t end) {
    for (int64_t h = 0; h < H; ++h) {
      add_columns(
          rows, begin, end,
          [=](int64_t t, int64_t c) {
            return ds[t * H + h] * static_cast<T>(u[t * C + c]);
          },
          sums + h * C);
    }
    for (int64_t h = 0; h < H; ++h) {
      for (int64_t c = begin; c < end; ++c) {
        dw[h * C + c] = static_cast<T>(sums[h * C + c]);
      }
    }
  });
}

double place_scale(int64_t i, double learnable) {
  return 1 / static_cast<double>(i + 1) + learnable;
}

}  // namespace

void inner_rate_forward(Context&, const Tensor& u, const Tensor& w,
                        const Tensor& bias, double scale, Tensor& gate,
                        Tensor& lr) {
  dispatch_stored(u.dtype(), [&](auto zero) {
    using A = decltype(zero);
    using T = Wide<A>;
    const int64_t C = u.dim(1), H = w.dim(0);
    const A* in = elements<A>(u);
    const T *weight = elements<T>(w), *shift = elements<T>(bias);
    T *open = elements<T>(gate), *rate = elements<T>(lr);
    parallel_for(u.dim(0), [=](int64_t t) {
      const A* row = in + t * C;
      for (int64_t h = 0; h < H; ++h) {
        const T* head = weight + h * C;
        const double dot = sum_over(C, [=](int64_t c) {
          return static_cast<double>(static_cast<T>(row[c])) * head[c];
        });
        const double g = sigmoid(dot + shift[h]);
        open[t * H + h] = static_cast<T>(g);
        rate[t * H + h] = static_cast<T>(scale * g);
      }
    });
  });
}

void inner_rate_backward(Context& ctx, const Tensor& dlr, const Tensor& u,
                         const Tensor& w, const Tensor& gate, double scale,
                         Tensor& du, Tensor& dw, Tensor& dbias) {
  dispatch_stored(u.dtype(), [&](auto zero) {
    using A = decltype(zero);
    using T = Wide<A>;
    const int64_t rows = u.dim(0), C = u.dim(1), H = w.dim(0);
    Tensor gradient = ctx.allocate({rows, H}, DType::kF64);
    Tensor sums = ctx.zeros({H, C}, DType::kF64);
    double* ds = elements<double>(gradient);
    gate_gradient(rows * H, elements<T>(dlr), elements<T>(gate), scale, ds);
    backward_u(rows, H, C, ds, elements<T>(w), elements<T>(du));
    backward_w(rows, H, C, ds, elements<A>(u), elements<double>(sums),
               elements<T>(dw));
    column_sums(
        rows, H, [=](int64_t t, int64_t h) { return ds[t * H + h]; },
        elements<T>(dbias), Write::kOverwrite);
  });
}

void token_scale_forward(Context&, const Tensor& learnable, Tensor& tok) {
  dispatch(tok.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const T* in = elements<T>(learnable);
    for (int64_t i = 0; i < tok.numel(); ++i) {
      elements<T>(tok)[i] = static_cast<T>(std::max(place_scale(i, in[i]), 0.));
    }
  });
}

void token_scale_backward(Context&, const Tensor& dtok, const Tensor& learnable,
                          Tensor& dlearnable) {
  dispatch(dtok.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const T* in = elements<T>(learnable);
    const T* up = elements<T>(dtok);
    for (int64_t i = 0; i < dtok.numel(); ++i) {
      elements<T>(dlearnable)[i] = place_scale(i, in[i]) >= 0 ? up[i] : T(0);
    }
  });
}

}  // namespace timepipe::cpu
