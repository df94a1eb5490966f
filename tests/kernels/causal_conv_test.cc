#include "kernels/causal_conv.h"

#include <algorithm>
#include <cmath>

#include "kernels/pointwise.h"
#include "tests/kernels/kernel_test.h"
#include "tests/support/test_device.h"

namespace timepipe {
namespace {

using namespace timepipe::testing;

// A chunk, or the sequence that chunks are cut from.
struct Layout {
  int64_t rows, C, k;
  std::vector<Segment> segments;
  int64_t members = 1;
};

struct Operands {
  Operands(Context& ctx, const Layout& l, DType dtype, uint64_t seed) {
    Generator rng(seed);
    x = normal(ctx, rng, {l.rows, l.C}, dtype);
    halo = normal(ctx, rng, {l.members * (l.k - 1), l.C}, dtype);
    w = normal(ctx, rng, {l.C, 1, l.k}, dtype);
    bias = normal(ctx, rng, {l.C}, dtype);
    dy = normal(ctx, rng, {l.rows, l.C}, dtype);
    clear(ctx);
  }
  void clear(Context& ctx) {
    y = nans(ctx, x.shape(), x.dtype());
    dx = nans(ctx, x.shape(), x.dtype());
    dhalo = nans(ctx, halo.shape(), x.dtype());
    dw = nans(ctx, w.shape(), x.dtype());
    dbias = nans(ctx, bias.shape(), x.dtype());
  }
  void forward(Context& ctx, Segments segments) {
    causal_conv_forward(ctx, x, halo, w, bias, segments, y);
  }
  void backward(Context& ctx, Segments segments,
                Write write = Write::kOverwrite) {
    causal_conv_backward(ctx, dy, x, halo, w, segments, dx, dhalo, write, dw,
                         dbias);
  }
  Tensor x, halo, w, bias, dy, y, dx, dhalo, dw, dbias;
};

std::vector<double> reference(Context& ctx, const Operands& o,
                              const Layout& l) {
  const auto x = to_f64(ctx, o.x), halo = to_f64(ctx, o.halo),
             w = to_f64(ctx, o.w);
  const auto bias = to_f64(ctx, o.bias);
  std::vector<double> y(x.size(), 0);
  for (const Segment& s : l.segments) {
    for (int64_t t = s.row; t < s.row + s.rows; ++t) {
      for (int64_t c = 0; c < l.C; ++c) {
        double sum = bias[c];
        for (int64_t j = 0; j < l.k; ++j) {
          const int64_t from = t - l.k + 1 + j;
          if (from < s.row - s.context) continue;
          const int64_t in_halo = s.member * (l.k - 1) + from - s.row + l.k - 1;
          sum += w[c * l.k + j] *
                 (from >= s.row ? x[from * l.C + c] : halo[in_halo * l.C + c]);
        }
        y[t * l.C + c] = sum;
      }
    }
  }
  return y;
}

const Layout kLayouts[] = {
    {1, 1, 1, {{0, 1, 0, true}}},
    {7, 5, 4, {{0, 7, 0, true}}},
    {7, 5, 4, {{0, 7, 20, false}}},
    {2, 3, 4, {{0, 2, 1, false}}},  // shorter than k - 1
    {17, 40, 3, {{0, 5, 2, false}, {8, 2, 0, true}, {12, 5, 0, true}}},
    {6, 2, 4, {{2, 3, 0, true}}},  // padding around
    {4, 3, 4, {}},
    {5, 3, 1, {{0, 5, 9, false}}},
    {0, 3, 4, {}},
    {18,
     5,
     4,
     {{0, 4, 5, false}, {6, 6, 1, false, 1}, {12, 6, 9, false, 2}},
     3},
    {11, 3, 3, {{0, 2, 0, true}, {4, 1, 0, true, 1}, {8, 3, 2, false, 2}}, 4},
    {150, 35, 4, {{0, 70, 2, false}, {72, 10, 0, true}, {90, 60, 0, true}}},
};

using Case = std::tuple<DType, int>;
class CausalConv : public ::testing::TestWithParam<Case> {};

TEST_P(CausalConv, ForwardAgreesWithTheDefinition) {
  const auto& [dtype, i] = GetParam();
  const Layout& l = kLayouts[i];
  TestContext ctx;
  Operands o(ctx, l, dtype, 1);
  o.forward(ctx, l.segments);
  EXPECT_TRUE(close(ctx, o.y, reference(ctx, o, l), rounding(dtype, l.k)));
}

TEST_P(CausalConv, BackwardAddsToInputGradientsWhereAsked) {
  const auto& [dtype, i] = GetParam();
  const Layout& l = kLayouts[i];
  TestContext ctx;
  Operands o(ctx, l, dtype, 2), sum = o;
  sum.clear(ctx);
  sum.dx = clone(ctx, o.x);
  sum.dhalo = clone(ctx, o.halo);
  o.backward(ctx, l.segments);
  sum.backward(ctx, l.segments, Write::kAdd);

  std::vector<double> dx = to_f64(ctx, o.x), dhalo = to_f64(ctx, o.halo);
  for (std::size_t n = 0; n < dx.size(); ++n) dx[n] += to_f64(ctx, o.dx)[n];
  for (std::size_t n = 0; n < dhalo.size(); ++n)
    dhalo[n] += to_f64(ctx, o.dhalo)[n];
  EXPECT_TRUE(close(ctx, sum.dx, dx, rounding(dtype, l.k)));
  EXPECT_TRUE(close(ctx, sum.dhalo, dhalo, rounding(dtype, l.k)));
  EXPECT_TRUE(same_bits(ctx, sum.dw, o.dw));
  EXPECT_TRUE(same_bits(ctx, sum.dbias, o.dbias));
}

TEST_P(CausalConv, BackwardAgreesWithFiniteDifferences) {
  const Layout& l = kLayouts[std::get<1>(GetParam())];
  TestContext ctx;
  Operands o(ctx, l, DType::kF64, 3);
  o.backward(ctx, l.segments);
  const auto objective = [&] {
    o.forward(ctx, l.segments);
    return inner_product(ctx, o.y, o.dy);
  };
  EXPECT_TRUE(gradients_agree(ctx, objective,
                              {{"x", o.x, o.dx},
                               {"halo", o.halo, o.dhalo},
                               {"w", o.w, o.dw},
                               {"bias", o.bias, o.dbias}},
                              {.sample = 40}));
}

INSTANTIATE_TEST_SUITE_P(
    Layouts, CausalConv,
    Combine(Values(DType::kF32, DType::kF64),
            ::testing::Range(0, static_cast<int>(std::size(kLayouts)))));

// The segments of rows [begin, end) of `whole`.
std::vector<Segment> cut(const std::vector<Segment>& whole, int64_t begin,
                         int64_t end) {
  std::vector<Segment> piece;
  for (const Segment& s : whole) {
    const int64_t first = std::max(s.row, begin);
    const int64_t last = std::min(s.row + s.rows, end);
    if (first >= last) continue;
    piece.push_back({first - begin, last - first, first - s.row + s.context,
                     s.resets && first == s.row});
  }
  return piece;
}

// The last k-1 rows of [before; x], the input of the next chunk's halo.
Tensor next_halo(Context& ctx, const Tensor& before, const Tensor& x) {
  const int64_t C = x.dim(1), kept = before.dim(0);
  std::vector<double> rows = to_f64(ctx, before);
  const std::vector<double> more = to_f64(ctx, x);
  rows.insert(rows.end(), more.begin(), more.end());
  return from_f64(ctx, {rows.end() - kept * C, rows.end()}, {kept, C},
                  x.dtype());
}

// Adds the next chunk's halo gradient to the last k-1 rows of [dhalo; dx].
void add_halo_gradient(Context& ctx, const Tensor& from_next,
                       const Tensor& dhalo, const Tensor& dx) {
  const int64_t kept = dhalo.dim(0), rows = dx.dim(0);
  for (int64_t r = 0; r < kept; ++r) {
    const int64_t row = rows - kept + r;  // below 0: passes to our own halo
    Tensor to = row >= 0 ? dx.slice(row, row + 1)
                         : dhalo.slice(row + kept, row + kept + 1);
    add(ctx, from_next.slice(r, r + 1), to);
  }
}

// Runs forward and backward in chunks of `size` rows into `o`'s outputs.
void run_in_chunks(Context& ctx, const Layout& l, int64_t size, Operands& o) {
  std::vector<Operands> chunks;
  std::vector<std::vector<Segment>> segments;
  Tensor halo = o.halo;
  for (int64_t begin = 0; begin < l.rows; begin += size) {
    const int64_t end = std::min(begin + size, l.rows);
    Operands chunk = o;
    chunk.x = o.x.slice(begin, end);
    chunk.dy = o.dy.slice(begin, end);
    chunk.halo = halo;
    chunk.clear(ctx);
    chunk.y = o.y.slice(begin, end);
    chunk.dx = o.dx.slice(begin, end);
    segments.push_back(cut(l.segments, begin, end));
    chunk.forward(ctx, segments.back());
    halo = next_halo(ctx, halo, chunk.x);
    chunks.push_back(chunk);
  }
  o.dw = filled(ctx, 0, o.w.shape(), o.w.dtype());
  o.dbias = filled(ctx, 0, o.bias.shape(), o.bias.dtype());
  Tensor from_next = filled(ctx, 0, o.halo.shape(), o.halo.dtype());
  for (std::size_t i = chunks.size(); i-- > 0;) {
    chunks[i].backward(ctx, segments[i]);
    add_halo_gradient(ctx, from_next, chunks[i].dhalo, chunks[i].dx);
    from_next = chunks[i].dhalo;
    add(ctx, chunks[i].dw, o.dw);
    add(ctx, chunks[i].dbias, o.dbias);
  }
  o.dhalo = from_next;
}

TEST(CausalConvChunks, DoNotChangeTheResult) {
  const Layout l{
      19, 5, 4, {{0, 6, 3, false}, {6, 5, 0, true}, {13, 6, 0, true}}};
  TestContext ctx;
  Operands whole(ctx, l, DType::kF64, 4);
  whole.forward(ctx, l.segments);
  whole.backward(ctx, l.segments);
  for (const int64_t size : {1, 2, 3, 7, 19}) {
    Operands parts = whole;
    parts.clear(ctx);
    run_in_chunks(ctx, l, size, parts);
    EXPECT_TRUE(same_bits(ctx, parts.y, whole.y)) << size;
    const double tolerance = rounding(DType::kF64, l.rows);
    EXPECT_TRUE(close(ctx, parts.dx, whole.dx, tolerance)) << size;
    EXPECT_TRUE(close(ctx, parts.dhalo, whole.dhalo, tolerance)) << size;
    EXPECT_TRUE(close(ctx, parts.dw, whole.dw, tolerance)) << size;
    EXPECT_TRUE(close(ctx, parts.dbias, whole.dbias, tolerance)) << size;
  }
}

TEST(CausalConvHalo, IsNotReadWhereTheDocumentStartsHere) {
  const Layout l{5, 3, 4, {{0, 5, 0, true}}};
  TestContext ctx;
  Operands o(ctx, l, DType::kF32, 5);
  o.halo = nans(ctx, {3, 3}, DType::kF32);
  o.forward(ctx, l.segments);
  const Tensor y = clone(ctx, o.y);
  o.backward(ctx, l.segments);
  EXPECT_TRUE(close(ctx, o.dhalo, std::vector<double>(9, 0), 0));
  o.halo = o.dhalo = Tensor();
  o.forward(ctx, l.segments);
  o.backward(ctx, l.segments);
  EXPECT_TRUE(same_bits(ctx, o.y, y));
}

TEST(CausalConvHalo, OnlyTheDocumentsOwnRowsAreRead) {
  const Layout l{5, 3, 4, {{0, 5, 1, false}}};
  TestContext ctx;
  Operands o(ctx, l, DType::kF32, 6);
  const std::vector<double> expected = reference(ctx, o, l);
  fill(ctx, std::nan(""), o.halo.slice(0, 2));
  o.forward(ctx, l.segments);
  EXPECT_TRUE(close(ctx, o.y, expected, rounding(DType::kF32, 4)));
}

TEST(CausalConvPadding, IsNotRead) {
  const Layout l{8, 3, 3, {{0, 2, 0, true}, {4, 3, 0, true}}};
  TestContext ctx;
  Operands o(ctx, l, DType::kF64, 7);
  const std::vector<double> expected = reference(ctx, o, l);
  for (const int64_t row : {2, 3, 7}) {
    for (Tensor* t : {&o.x, &o.dy}) {
      fill(ctx, std::nan(""), t->slice(row, row + 1));
    }
  }
  o.forward(ctx, l.segments);
  o.backward(ctx, l.segments);
  EXPECT_TRUE(close(ctx, o.y, expected, rounding(DType::kF64, 3)));
  for (const Tensor& t : {o.dx, o.dw, o.dbias})
    EXPECT_TRUE(close(ctx, t, t, 0));
  for (const int64_t row : {2, 3, 7}) {
    EXPECT_TRUE(close(ctx, o.dx.slice(row, row + 1), {0, 0, 0}, 0));
  }
}

TEST(CausalConvThreads, DoNotChangeBits) {
  const Layout l{37, 130, 4, {{0, 20, 3, false}, {24, 13, 0, true}}};
  TestContext ctx;
  const Operands start(ctx, l, DType::kF32, 8);
  EXPECT_TRUE(same_bits_for_any_threads(ctx, [&] {
    Operands o = start;
    o.clear(ctx);
    o.forward(ctx, l.segments);
    o.backward(ctx, l.segments);
    return std::vector<Tensor>{o.y, o.dx, o.dhalo, o.dw, o.dbias};
  }));
}

TEST(CausalConvArguments, AreChecked) {
  const Layout l{8, 3, 4, {{0, 8, 5, false}}};
  TestContext ctx;
  Operands o(ctx, l, DType::kF32, 9);
  const auto forward_with = [&](std::vector<Segment> segments) {
    return [&o, &ctx, segments] { o.forward(ctx, segments); };
  };
  EXPECT_THAT(forward_with({{0, 9, 0, true}}),
              refuses("segments[0]: rows [0,9), expected inside [0,8)"));
  EXPECT_THAT(forward_with({{0, 4, 0, true}, {3, 2, 0, true}}),
              refuses("segments[1]: rows [3,5), expected inside [4,8)"));
  EXPECT_THAT(forward_with({{0, 4, 0, true}, {4, 2, 1, true}}),
              refuses("segments[1]: context 1"));
  EXPECT_THAT(forward_with({{0, 4, 0, true}, {4, 2, 1, true, 1}}),
              refuses("halo: shape [3,3], expected [6,3]"));
  EXPECT_THAT(forward_with({{0, 4, 0, true, 1}, {4, 2, 0, true, 0}}),
              refuses("segments[1]: member 0, expected those before it to be "
                      "of earlier ones"));
  EXPECT_THAT(forward_with({{4, 4, 1, true}}),
              refuses("segments[0]: context 1"));
  o.halo = Tensor();
  EXPECT_THAT(forward_with(l.segments),
              refuses("halo: shape [0], expected [3,3]"));
  o.halo = nans(ctx, {4, 3}, DType::kF32);
  EXPECT_THAT(forward_with(l.segments),
              refuses("halo: 4 rows, expected a multiple of 3"));
  o = Operands(ctx, l, DType::kF32, 9);
  o.dhalo = nans(ctx, {2, 3}, DType::kF32);
  EXPECT_THAT([&] { o.backward(ctx, l.segments); },
              refuses("dhalo: shape [2,3], expected [3,3]"));
  o.w = filled(ctx, 1, {3, 4}, DType::kF32);
  EXPECT_THAT(forward_with(l.segments), refuses("w: shape [3,4]"));
  o = Operands(ctx, l, DType::kF32, 9);
  o.dw = nans(ctx, o.w.shape(), DType::kF64);
  EXPECT_THAT([&] { o.backward(ctx, l.segments); }, refuses("dw: dtype f64"));
}

}  // namespace
}  // namespace timepipe
