#include <hostcuda/mma.h>
#include <hostcuda/warp_state.h>

#include <algorithm>
#include <array>
#include <bit>

namespace hostcuda {

namespace {

constexpr uint32_t kAllLanes = 0xffffffff;
constexpr int kRows = 16, kColumns = 8;

// What a lane gives to a product.
struct Operands {
  float (&c)[4];
  const uint32_t (&a)[4];
  uint32_t b[2];
};
struct Matrices {
  uint32_t (&r)[4];
  const uint32_t (&row)[4];
  bool transposes;
};

template <class T>
T& operands(Warp& warp, int lane) {
  return *static_cast<T*>(warp.operands[static_cast<unsigned>(lane)]);
}

// Exponents of elements as they are stored, 1 for those below the normal ones;
// of a zero so low that no product with it counts.
constexpr int16_t kOfZero = -1000;
int16_t exponent(float x) {
  const uint32_t e = std::bit_cast<uint32_t>(x) >> 23 & 255;
  return static_cast<int16_t>(x == 0 ? kOfZero : std::max<int>(1, int(e)));
}
bool is_finite(float x) {
  return (std::bit_cast<uint32_t>(x) >> 23 & 255) != 255;
}

template <int K>
struct Tiles {
  float a[kRows][K];
  float b[K][kColumns];
  float c[kRows][kColumns];
};

// Row `r` of C. f64 holds all of it exactly: products of at most 22 bits, cut
// to integers of 28 bits in units of 2^(top - kMmaFractionBits).
template <int K>
void accumulate_row(Tiles<K>& t, const int16_t (&b_exponent)[K][kColumns],
                    int r) {
  // Exponents of products: the sum of the factors', so that 254 is that of 1.
  int16_t top[kColumns];
  for (int n = 0; n < kColumns; ++n) {
    top[n] = static_cast<int16_t>(exponent(t.c[r][n]) + 127);
  }
  for (int k = 0; k < K; ++k) {
    const int16_t e = exponent(t.a[r][k]);
    for (int n = 0; n < kColumns; ++n) {
      top[n] = std::max(top[n], static_cast<int16_t>(e + b_exponent[k][n]));
    }
  }
  double scale[kColumns], sum[kColumns];
  for (int n = 0; n < kColumns; ++n) {
    const auto power =
        static_cast<uint64_t>(1023 + 254 + kMmaFractionBits - top[n]);
    scale[n] = top[n] < 0 ? 0 : std::bit_cast<double>(power << 52);
    sum[n] = static_cast<int32_t>(t.c[r][n] * scale[n]);
  }
  for (int k = 0; k < K; ++k) {
    for (int n = 0; n < kColumns; ++n) {
      const double product = double{t.a[r][k]} * t.b[k][n];
      sum[n] += static_cast<int32_t>(product * scale[n]);
    }
  }
  for (int n = 0; n < kColumns; ++n) {
    if (top[n] < 0) {  // All are zeros; which zero, the sum says.
      for (int k = 0; k < K; ++k) t.c[r][n] += t.a[r][k] * t.b[k][n];
      continue;
    }
    // Without the last 29 of f64's 53 bits.
    const double cut = std::bit_cast<double>(std::bit_cast<uint64_t>(sum[n]) &
                                             ~((uint64_t{1} << 29) - 1));
    t.c[r][n] = static_cast<float>(cut / scale[n]);
  }
}

template <int K>
void accumulate(Tiles<K>& t) {
  int16_t b_exponent[K][kColumns];
  bool b_finite = true;
  for (int k = 0; k < K; ++k) {
    for (int n = 0; n < kColumns; ++n) {
      b_exponent[k][n] = exponent(t.b[k][n]);
      b_finite = b_finite && is_finite(t.b[k][n]);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    bool finite = b_finite;
    for (float x : t.a[r]) finite = finite && is_finite(x);
    for (float x : t.c[r]) finite = finite && is_finite(x);
    if (finite) {
      accumulate_row(t, b_exponent, r);
      continue;
    }
    for (int n = 0; n < kColumns; ++n) {
      for (int k = 0; k < K; ++k) t.c[r][n] += t.a[r][k] * t.b[k][n];
    }
  }
}

// Elements i and i + 1 of a row, in one register.
void set_pair(float* row, int i, uint32_t pair) {
  row[i] = std::bit_cast<float>(pair << 16);
  row[i + 1] = std::bit_cast<float>(pair & 0xffff0000);
}

float tf32(uint32_t bits) { return std::bit_cast<float>(bits & 0xffffe000); }

template <int K>
void read_fragments(Tiles<K>& t, const Operands& lane, int group, int place);

template <>
void read_fragments<16>(Tiles<16>& t, const Operands& lane, int group,
                        int place) {
  for (int i = 0; i < 4; ++i) {
    set_pair(t.a[group + 8 * (i % 2)], 2 * place + 8 * (i / 2), lane.a[i]);
  }
  for (int i = 0; i < 2; ++i) {
    float pair[2];
    set_pair(pair, 0, lane.b[i]);
    for (int j = 0; j < 2; ++j) t.b[2 * place + 8 * i + j][group] = pair[j];
  }
}

template <>
void read_fragments<8>(Tiles<8>& t, const Operands& lane, int group,
                       int place) {
  for (int i = 0; i < 4; ++i) {
    t.a[group + 8 * (i % 2)][place + 4 * (i / 2)] = tf32(lane.a[i]);
  }
  for (int i = 0; i < 2; ++i) t.b[place + 4 * i][group] = tf32(lane.b[i]);
}

template <int K>
void complete_mma(Warp& warp, uint32_t) {
  Tiles<K> t;
  for (int l = 0; l < 32; ++l) {
    const auto& lane = operands<Operands>(warp, l);
    read_fragments(t, lane, l / 4, l % 4);
    for (int i = 0; i < 4; ++i) {
      t.c[l / 4 + 8 * (i / 2)][2 * (l % 4) + i % 2] = lane.c[i];
    }
  }
  accumulate(t);
  for (int l = 0; l < 32; ++l) {
    const auto& lane = operands<Operands>(warp, l);
    for (int i = 0; i < 4; ++i) {
      lane.c[i] = t.c[l / 4 + 8 * (i / 2)][2 * (l % 4) + i % 2];
    }
  }
}

// Element (i, j) of matrix m is the j-th of the row that lane 8 m + i read.
uint32_t element(Warp& warp, int m, int i, int j) {
  const auto& lane = operands<Matrices>(warp, 8 * m + i);
  return lane.row[j / 2] >> 16 * (j % 2) & 0xffff;
}

void complete_load(Warp& warp, uint32_t) {
  for (int l = 0; l < 32; ++l) {
    const auto& lane = operands<Matrices>(warp, l);
    const int i = l / 4, j = 2 * (l % 4);
    for (int m = 0; m < 4; ++m) {
      lane.r[m] =
          lane.transposes
              ? element(warp, m, j, i) | element(warp, m, j + 1, i) << 16
              : element(warp, m, i, j) | element(warp, m, i, j + 1) << 16;
    }
  }
}

void join(Complete complete, void* operands, const char* operation,
          const Site& site) {
  const Thread& thread = engine->current();
  engine->warp_of(thread).operands[thread.lane()] = operands;
  join_group(complete, kAllLanes, operation, site);
}

}  // namespace

void mma_bf16(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1,
              const char* file, int line) {
  Operands lane{c, a, {b0, b1}};
  join(complete_mma<16>, &lane, "mma_bf16", {file, line});
}

void mma_tf32(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1,
              const char* file, int line) {
  Operands lane{c, a, {b0, b1}};
  join(complete_mma<8>, &lane, "mma_tf32", {file, line});
}

void load_matrices(uint32_t (&r)[4], const uint32_t (&row)[4], bool transposes,
                   const char* file, int line) {
  Matrices lane{r, row, transposes};
  join(complete_load, &lane, transposes ? "ldmatrix.trans" : "ldmatrix",
       {file, line});
}

}  // namespace hostcuda
