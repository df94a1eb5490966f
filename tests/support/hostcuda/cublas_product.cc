#include <hostcuda/cublas_product.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

namespace hostcuda {
namespace {

constexpr int kVectorBytes = 32;
constexpr int64_t kTerms = 256;  // Of one block of a sum.
constexpr int64_t kColumns = 4;  // Of C in one tile.

// Rows of C in one tile: two vectors.
template <class T>
constexpr int64_t kRows = 2 * kVectorBytes / static_cast<int64_t>(sizeof(T));

struct Bf16 {
  uint16_t bits;
};

// float32 whose products a tensor core makes after rounding to tf32.
struct Tf32 {
  float value;
};

float widen(float value) { return value; }
double widen(double value) { return value; }
float widen(Bf16 value) {
  return std::bit_cast<float>(uint32_t{value.bits} << 16);
}
// To 10 bits of mantissa: the nearest, ties away from zero (cvt.rna.tf32).
float widen(Tf32 value) {
  const auto bits = std::bit_cast<uint32_t>(value.value);
  const bool finite = (bits & 0x7f800000u) != 0x7f800000u;
  return finite ? std::bit_cast<float>((bits + 0x1000u) & ~0x1fffu)
                : value.value;
}

void narrow(float value, float& stored) { stored = value; }
void narrow(double value, double& stored) { stored = value; }
void narrow(float value, Bf16& stored) {  // The nearest, ties to even.
  const auto bits = std::bit_cast<uint32_t>(value);
  const bool is_nan = value != value;
  const uint32_t rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
  stored.bits = static_cast<uint16_t>(is_nan ? 0x7fffu : rounded >> 16);
}

// op(X) [rows, columns], X column-major and op a transposition or nothing.
template <class Stored>
struct View {
  const Stored* data;
  int64_t ld;
  bool transposed;

  auto operator()(int64_t row, int64_t column) const {
    return widen(data[transposed ? column + row * ld : row + column * ld]);
  }
};

template <class Stored>
View<Stored> view(const Matrix& matrix, int64_t index) {
  return {static_cast<const Stored*>(matrix.data) + index * matrix.stride,
          matrix.ld, matrix.transposed};
}

// Panels of `width` rows or columns side by side, one after the other, each
// [terms, width]; beyond the end of the matrix are zeros.
template <class T, class At>
void pack(int64_t count, int64_t terms, int64_t width, const At& at,
          std::vector<T>& panels) {
  panels.resize((count + width - 1) / width * width * terms);
  T* out = panels.data();
  for (int64_t begin = 0; begin < count; begin += width) {
    const int64_t used = std::min(width, count - begin);
    for (int64_t term = 0; term < terms; ++term, out += width) {
      for (int64_t i = 0; i < used; ++i) out[i] = at(begin + i, term);
      for (int64_t i = used; i < width; ++i) out[i] = T{0};
    }
  }
}

// sums [kColumns, kRows] of one panel of each operand.
template <class T>
__attribute__((always_inline)) inline void tile(const T* a, const T* b,
                                                int64_t k, T* sums) {
  typedef T Vector __attribute__((vector_size(kVectorBytes)));
  constexpr int64_t kLanes = kVectorBytes / sizeof(T);
  Vector total[kColumns][2] = {};
  for (int64_t begin = 0; begin < k; begin += kTerms) {
    Vector sum[kColumns][2] = {};
    for (int64_t p = begin; p < std::min(begin + kTerms, k); ++p) {
      Vector low, high;
      std::memcpy(&low, a + p * kRows<T>, sizeof low);
      std::memcpy(&high, a + p * kRows<T> + kLanes, sizeof high);
      for (int64_t j = 0; j < kColumns; ++j) {
        sum[j][0] += low * b[p * kColumns + j];
        sum[j][1] += high * b[p * kColumns + j];
      }
    }
    for (int64_t j = 0; j < kColumns; ++j) {
      total[j][0] += sum[j][0];
      total[j][1] += sum[j][1];
    }
  }
  std::memcpy(sums, total, sizeof total);
}

// The same bits with wider instructions: no multiplication is fused with an
// addition.
#ifdef __x86_64__
template <class T>
__attribute__((target("avx2"))) void tile_avx2(const T* a, const T* b,
                                               int64_t k, T* sums) {
  tile(a, b, k, sums);
}
#endif

template <class T>
void tile_plain(const T* a, const T* b, int64_t k, T* sums) {
  tile(a, b, k, sums);
}

template <class T>
using Tile = void (*)(const T* a, const T* b, int64_t k, T* sums);

template <class T>
Tile<T> fastest_tile() {
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx2")) return &tile_avx2<T>;
#endif
  return &tile_plain<T>;
}

template <class T, class Stored, class Result>
void multiply_one(const Product& p, int64_t index) {
  static const Tile<T> sum_tile = fastest_tile<T>();
  thread_local std::vector<T> a_panels, b_panels;
  const View<Stored> a = view<Stored>(p.a, index);
  const View<Stored> b = view<Stored>(p.b, index);
  pack<T>(p.m, p.k, kRows<T>, a, a_panels);
  pack<T>(
      p.n, p.k, kColumns,
      [&](int64_t column, int64_t row) { return b(row, column); }, b_panels);
  const T alpha = static_cast<T>(p.alpha), beta = static_cast<T>(p.beta);
  Result* c = static_cast<Result*>(p.c) + index * p.stride_c;
  for (int64_t i0 = 0; i0 < p.m; i0 += kRows<T>) {
    for (int64_t j0 = 0; j0 < p.n; j0 += kColumns) {
      T sums[kColumns * kRows<T>];
      sum_tile(a_panels.data() + i0 * p.k, b_panels.data() + j0 * p.k, p.k,
               sums);
      for (int64_t j = 0; j < std::min(kColumns, p.n - j0); ++j) {
        for (int64_t i = 0; i < std::min(kRows<T>, p.m - i0); ++i) {
          Result& result = c[(i0 + i) + (j0 + j) * p.ldc];
          const T product = alpha * sums[j * kRows<T> + i];
          narrow(beta == 0 ? product : product + beta * widen(result), result);
        }
      }
    }
  }
}

template <class T, class Stored, class Result>
void multiply_all(const Product& product) {
  for (int64_t i = 0; i < product.batch; ++i) {
    multiply_one<T, Stored, Result>(product, i);
  }
}

}  // namespace

void multiply(const Product& product) {
  switch (product.a.element) {
    case Element::kF64:
      return multiply_all<double, double, double>(product);
    case Element::kF32:
      return multiply_all<float, float, float>(product);
    case Element::kTf32:
      return multiply_all<float, Tf32, float>(product);
    case Element::kBf16:
      return product.c_element == Element::kBf16
                 ? multiply_all<float, Bf16, Bf16>(product)
                 : multiply_all<float, Bf16, float>(product);
  }
}

}  // namespace hostcuda
