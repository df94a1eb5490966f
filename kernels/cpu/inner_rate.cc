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
template <class T>
void backward_w(int64_t rows, int64_t H, int64_t C, const double* ds,
                const T* u, double* sums, T* dw) {
  parallel_pieces(C, kColumns, [=](int64_t begin, int64_t end) {
    for (int64_t h = 0; h < H; ++h) {
      add_columns(
          rows, begin, end,
          [=](int64_t t, int64_t c) { return ds[t * H + h] * u[t * C + c]; },
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

void inner_rate_forward(const Tensor& u, const Tensor& w, const Tensor& bias,
                        double scale, Tensor& gate, Tensor& lr) {
  dispatch(u.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const int64_t C = u.dim(1), H = w.dim(0);
    const T *in = u.template data<T>(), *weight = w.template data<T>();
    const T* shift = bias.template data<T>();
    T *open = gate.template data<T>(), *rate = lr.template data<T>();
    parallel_for(u.dim(0), [=](int64_t t) {
      const T* row = in + t * C;
      for (int64_t h = 0; h < H; ++h) {
        const T* head = weight + h * C;
        const double dot = sum_over(C, [=](int64_t c) {
          return static_cast<double>(row[c]) * head[c];
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
  dispatch(u.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const int64_t rows = u.dim(0), C = u.dim(1), H = w.dim(0);
    Tensor gradient = ctx.allocate({rows, H}, DType::kF64);
    Tensor sums = ctx.zeros({H, C}, DType::kF64);
    double* ds = gradient.data<double>();
    gate_gradient(rows * H, dlr.template data<T>(), gate.template data<T>(),
                  scale, ds);
    backward_u(rows, H, C, ds, w.template data<T>(), du.template data<T>());
    backward_w(rows, H, C, ds, u.template data<T>(), sums.data<double>(),
               dw.template data<T>());
    column_sums(
        rows, H, [=](int64_t t, int64_t h) { return ds[t * H + h]; },
        dbias.template data<T>(), Write::kOverwrite);
  });
}

void token_scale_forward(const Tensor& learnable, Tensor& tok) {
  dispatch(tok.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const T* in = learnable.template data<T>();
    for (int64_t i = 0; i < tok.numel(); ++i) {
      tok.template data<T>()[i] =
          static_cast<T>(std::max(place_scale(i, in[i]), 0.));
    }
  });
}

void token_scale_backward(const Tensor& dtok, const Tensor& learnable,
                          Tensor& dlearnable) {
  dispatch(dtok.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const T* in = learnable.template data<T>();
    const T* up = dtok.template data<T>();
    for (int64_t i = 0; i < dtok.numel(); ++i) {
      dlearnable.template data<T>()[i] =
          place_scale(i, in[i]) >= 0 ? up[i] : T(0);
    }
  });
}

}  // namespace timepipe::cpu
