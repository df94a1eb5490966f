// Matrix products on host memory: f32 by oneDNN where the build has it, else
// plain loops over tiles of C.

#include "kernels/matmul.h"

#include <glog/logging.h>

#include <algorithm>
#include <atomic>
#include <type_traits>

#include "kernels/cpu/cpu_kernels.h"
#include "runtime/error.h"
#include "runtime/parallel_for.h"

#ifdef TIMEPIPE_WITH_ONEDNN
#include <omp.h>
#include <oneapi/dnnl/dnnl.h>
#endif

namespace timepipe::cpu {
namespace {

template <class T>
struct Product {
  Form form;
  int64_t M, N, K;
  const T *a, *b;
  T* c;
  bool add;

  bool a_turned() const { return form == Form::kTN; }
  bool b_turned() const { return form == Form::kNT; }
};

struct Tile {
  int64_t row, row_end, column, column_end;
};

// Calls f for each tile of C, at most `rows` x `columns` in size.
template <class F>
void for_tiles(int64_t M, int64_t N, int64_t rows, int64_t columns, F&& f) {
  const int64_t down = (M + rows - 1) / rows;
  const int64_t across = (N + columns - 1) / columns;
  parallel_for(down * across, [&](int64_t i) {
    const int64_t row = i / across * rows, column = i % across * columns;
    f(Tile{row, std::min(row + rows, M), column,
           std::min(column + columns, N)});
  });
}

constexpr int64_t kEdge = 64;  // of a plain tile: two fit into a core's L1

// Rows [k, k_end) and the tile's columns of B^T, read from B [N,K].
template <class T>
void pack(const Product<T>& p, const Tile& tile, int64_t k, int64_t k_end,
          T* packed) {
  for (int64_t j = tile.column; j < tile.column_end; ++j) {
    for (int64_t kk = k; kk < k_end; ++kk) {
      packed[(kk - k) * kEdge + j - tile.column] = p.b[j * p.K + kk];
    }
  }
}

template <class T>
void plain_tile(const Product<T>& p, const Tile& tile) {
  const int64_t width = tile.column_end - tile.column;
  T packed[kEdge * kEdge];
  for (int64_t i = tile.row; i < tile.row_end && !p.add; ++i) {
    std::fill_n(p.c + i * p.N + tile.column, width, T(0));
  }
  for (int64_t k = 0; k < p.K; k += kEdge) {
    const int64_t k_end = std::min(k + kEdge, p.K);
    if (p.b_turned()) pack(p, tile, k, k_end, packed);
    const T* b = p.b_turned() ? packed : p.b + k * p.N + tile.column;
    const int64_t stride = p.b_turned() ? kEdge : p.N;
    for (int64_t i = tile.row; i < tile.row_end; ++i) {
      T* __restrict c = p.c + i * p.N + tile.column;
      for (int64_t kk = k; kk < k_end; ++kk) {
        const T a = p.a_turned() ? p.a[kk * p.M + i] : p.a[i * p.K + kk];
        const T* __restrict row = b + (kk - k) * stride;
        for (int64_t j = 0; j < width; ++j) c[j] += a * row[j];
      }
    }
  }
}

template <class T>
void plain_product(const Product<T>& p) {
  for_tiles(p.M, p.N, kEdge, kEdge,
            [&](const Tile& tile) { plain_tile(p, tile); });
}

#ifdef TIMEPIPE_WITH_ONEDNN

// oneDNN asks OpenMP for the number of threads: one, while this lives, for the
// calling thread alone.
class OneThread {
 public:
  OneThread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~OneThread() { omp_set_num_threads(before_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_;
};

dnnl_status_t sgemm_tile(const Product<float>& p, const Tile& tile) {
  const OneThread one_thread;
  const int64_t row = tile.row, column = tile.column;
  return dnnl_sgemm(
      p.a_turned() ? 'T' : 'N', p.b_turned() ? 'T' : 'N', tile.row_end - row,
      tile.column_end - column, p.K, 1.F,
      p.a + (p.a_turned() ? row : row * p.K), p.a_turned() ? p.M : p.K,
      p.b + (p.b_turned() ? column * p.K : column), p.b_turned() ? p.K : p.N,
      p.add ? 1.F : 0.F, p.c + row * p.N + column, p.N);
}

int64_t round_up(int64_t n, int64_t unit) {
  return (n + unit - 1) / unit * unit;
}

// At most 16 tiles, none cut below 128 rows or columns: thin ones are slow,
// most of all thin rows of A^T B. The units are those of oneDNN's own tiles.
void sgemm_product(const Product<float>& p) {
  constexpr int64_t kSmallest = 128, kMostDown = 4, kMostTiles = 16;
  constexpr int64_t kRowUnit = 8, kColumnUnit = 48;
  const int64_t down = std::clamp<int64_t>(p.M / kSmallest, 1, kMostDown);
  const int64_t across =
      std::clamp<int64_t>(p.N / kSmallest, 1, kMostTiles / down);
  std::atomic<dnnl_status_t> failure = dnnl_success;
  for_tiles(p.M, p.N, round_up((p.M + down - 1) / down, kRowUnit),
            round_up((p.N + across - 1) / across, kColumnUnit),
            [&](const Tile& tile) {
              const dnnl_status_t status = sgemm_tile(p, tile);
              if (status != dnnl_success) failure = status;
            });
  if (failure == dnnl_out_of_memory) {
    throw OutOfMemory("out of memory: oneDNN, for a product of " +
                      to_string({p.M, p.K}) + " and " + to_string({p.K, p.N}));
  }
  CHECK_EQ(failure.load(), dnnl_success);
}

#endif

template <class T>
void multiply(const Product<T>& p) {
  if (p.M == 0 || p.N == 0) return;
#ifdef TIMEPIPE_WITH_ONEDNN
  if constexpr (std::is_same_v<T, float>) {
    if (p.K > 0) return sgemm_product(p);  // K = 0: oneDNN leaves C as it is
  }
#endif
  plain_product(p);
}

}  // namespace

void matmul(Context& ctx, Form form, const Tensor& a, const Tensor& b,
            Tensor& c, Write write) {
  if (a.dtype() == DType::kBF16) {
    const Tensor wide_a = widened(ctx, a), wide_b = widened(ctx, b);
    if (c.dtype() != DType::kBF16) {
      return cpu::matmul(ctx, form, wide_a, wide_b, c, write);
    }
    Tensor wide_c = ctx.allocate(c.shape(), DType::kF32);
    cpu::matmul(ctx, form, wide_a, wide_b, wide_c, write);
    return cpu::round(ctx, wide_c, c);
  }
  dispatch(c.dtype(), [&](auto zero) {
    using T = decltype(zero);
    multiply(Product<T>{
        .form = form,
        .M = c.dim(0),
        .N = c.dim(1),
        .K = a.dim(form == Form::kTN ? 0 : 1),
        .a = elements<T>(a),
        .b = elements<T>(b),
        .c = elements<T>(c),
        .add = write == Write::kAdd,
    });
  });
}

}  // namespace timepipe::cpu
