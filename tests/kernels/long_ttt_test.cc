// The scan and decoding with more than 2^31 elements: in the rows of a chunk,
// in the state, and in the heads' scratch.

#include <numeric>
#include <vector>

#include "kernels/ttt_decode.h"
#include "kernels/ttt_scan.h"
#include "tests/kernels/long_tensors.h"

namespace timepipe {
namespace {

using namespace testing;

// The whole scan, forward and backward.
void scan(Context& ctx, const TttScan& rows, const Tensor& start,
          const Tensor& state_in, Tensor& state_out) {
  ttt_scan_prepare(ctx, rows);
  ttt_scan_forward(ctx, rows, start, state_in, state_out);
  ttt_scan_read(ctx, rows);
}
void scan_backward(Context& ctx, const TttScan& rows, const TttScanGradients& d,
                   const Tensor& start, const Tensor& dstate_out,
                   Tensor& dstate_in, Tensor& dstart) {
  ttt_scan_backward_read(ctx, rows, d);
  ttt_scan_backward(ctx, rows, d, start, dstate_out, dstate_in, dstart);
  ttt_scan_backward_finish(ctx, rows, d);
}

using LongScan = LongTest;

// Documents lie in the windows; between them there is padding. The second ends
// inside a mini-batch and goes on with the state of the first. dxq, dxk and dxv
// are the same memory: there is room for one.
TEST_F(LongScan, ManyRows) {
  constexpr int64_t kHeads = 4, D = 16, C = kHeads * D, kBatch = 16;
  const TttShape shape{InnerModel::kLinear, kHeads, D, kBatch};
  const Windows rows(2 * kBatch, C);
  std::vector<Segment> few_segments, all_segments;
  rows.for_each([&](int64_t row, int64_t few_row, int64_t count) {
    const bool is_second = few_row == 2 * kBatch;
    const int64_t present = is_second ? count - 3 : count;
    few_segments.push_back({few_row, present, 0, !is_second});
    all_segments.push_back({row, present, 0, !is_second});
  });
  const auto segments = [&](auto part) {
    return Segments(part == &Operand::few ? few_segments : all_segments);
  };
  const Shape x = {rows.few(), C}, state = {shape.state_size()};
  const Operand xq = random(rows, x), xk = random(rows, x),
                xv = random(rows, x), lr = random(rows, {rows.few(), kHeads}),
                tok = given({kBatch}), ln_w = given({kHeads, D}),
                ln_b = given({kHeads, D}), start = given(state);
  const auto kept_for = [&](int64_t tokens) {
    return nans(
        ctx, {ttt_scan_kept_elements(ctx.device(), shape, rows_of_one(tokens))},
        DType::kF32);
  };
  Operand y = output(rows, x), state_out = sums(state);
  Operand kept{kept_for(rows.few()), kept_for(rows.size())};

  for (const auto part : kBoth) {
    scan(ctx,
         {shape, rows_of_one((xq.*part).dim(0)), segments(part), xq.*part,
          xk.*part, xv.*part, lr.*part, tok.*part, ln_w.*part, ln_b.*part,
          kept.*part, y.*part},
         start.*part, Tensor{}, state_out.*part);
  }

  EXPECT_TRUE(windows_agree(rows, y));
  EXPECT_TRUE(agree(state_out));
  EXPECT_TRUE(same_bits(ctx, kept.all.slice(0, kept.few.numel()), kept.few));

  const Operand dy = random(rows, x), dstate_out = given(state);
  y = {};  // isn't read: dx stands for it
  Operand dx = output(rows, x), dlr = unset(rows, {rows.few(), kHeads}),
          dtok = sums({kBatch}), dln_w = sums({kHeads, D}),
          dln_b = sums({kHeads, D}), dstate_in = sums(state),
          dstart = sums(state);

  for (const auto part : kBoth) {
    scan_backward(ctx,
                  {shape, rows_of_one((xq.*part).dim(0)), segments(part),
                   xq.*part, xk.*part, xv.*part, lr.*part, tok.*part,
                   ln_w.*part, ln_b.*part, kept.*part, dx.*part},
                  {dy.*part, dx.*part, dx.*part, dx.*part, dlr.*part,
                   dtok.*part, dln_w.*part, dln_b.*part, Tensor{}},
                  start.*part, dstate_out.*part, dstate_in.*part, dstart.*part);
  }

  EXPECT_TRUE(windows_agree(rows, dx));
  EXPECT_TRUE(windows_agree(rows, dlr));
  for (const Operand& sum : {dtok, dln_w, dln_b, dstate_in, dstart}) {
    EXPECT_TRUE(agree(sum));
  }
}

// Two rows of one mini-batch, many heads; the windows are heads.
class LongHeads : public LongTest {
 protected:
  static constexpr int64_t kRows = 2, kWindow = 2;

  // inner: elements per head of what shall cross 2^31.
  void set_shape(InnerModel inner_model, int64_t head_size, int64_t inner) {
    heads = Windows(kWindow, inner);
    D = head_size;
    shapes[0] = {inner_model, heads.few(), D, kRows};
    shapes[1] = {inner_model, heads.size(), D, kRows};
    for (Operand* x : {&xq, &xk, &xv, &dy}) *x = row(D);
    lr = row(1);
    tok = given({kRows});
    ln_w = random(heads, {heads.few(), D});
    ln_b = random(heads, {heads.few(), D});
  }
  const TttShape& shape(Tensor Operand::*part) const {
    return shapes[part == &Operand::few ? 0 : 1];
  }

  Operand row(int64_t columns) {
    return random(heads, {kRows, heads.few() * columns}, kRows);
  }
  Operand unset_row(int64_t columns) {
    return unset(heads, {kRows, heads.few() * columns}, kRows);
  }
  Operand unset_heads() { return unset(heads, {heads.few(), D}); }

  // Random in the windows' heads, zero elsewhere.
  Operand state(Tensor all) {
    Operand state{normal(ctx, rng, {shapes[0].state_size()}, DType::kF32, 0.1),
                  all};
    const std::vector<Tensor> few_parts = parts(state.few),
                              all_parts = parts(state.all);
    for (std::size_t i = 0; i < few_parts.size(); ++i) {
      scatter(ctx, heads, 1, few_parts[i], all_parts[i]);
    }
    return state;
  }
  Operand state() {
    return state(zeros({shapes[1].state_size()}, DType::kF32));
  }
  ::testing::AssertionResult states_agree(const Operand& state) {
    const std::vector<Tensor> few_parts = parts(state.few),
                              all_parts = parts(state.all);
    for (std::size_t i = 0; i < few_parts.size(); ++i) {
      auto result = windows_agree(heads, {few_parts[i], all_parts[i]});
      if (!result) return result << ", part " << i << " of the state";
    }
    return ::testing::AssertionSuccess();
  }

  // W1, b1, W2 and b2 of all heads, each [heads, elements].
  std::vector<Tensor> parts(const Tensor& flat) const {
    const bool is_mlp = shapes[0].inner == InnerModel::kMlp;
    const int64_t F = is_mlp ? 4 * D : D;
    std::vector<int64_t> sizes = {D * F, F};
    if (is_mlp) sizes.insert(sizes.end(), {F * D, D});
    const int64_t H =
        flat.numel() / std::accumulate(sizes.begin(), sizes.end(), int64_t{0});
    std::vector<Tensor> parts;
    int64_t begin = 0;
    for (const int64_t size : sizes) {
      parts.push_back(flat.slice(begin, begin + H * size).reshape({H, size}));
      begin += H * size;
    }
    return parts;
  }

  Windows heads{kWindow, 1};
  int64_t D = 0;
  TttShape shapes[2];
  Operand xq, xk, xv, dy, lr, tok, ln_w, ln_b;
  const Segment all_rows{0, kRows, 0, false};
  const Segments segments{&all_rows, 1};
};

// What is kept is the same memory as the state that is left: there is room for
// one.
TEST_F(LongHeads, ScanWithALongState) {
  constexpr int64_t kHeadSize = 64;
  set_shape(InnerModel::kMlp, kHeadSize, 8 * kHeadSize * kHeadSize);
  const Operand state_in = state();
  Operand y = unset_row(D),
          state_out =
              state(output_memory({shapes[1].state_size()}, DType::kF32));

  for (const auto part : kBoth) {
    scan(ctx,
         {shape(part), rows_of_one(kRows), segments, xq.*part, xk.*part,
          xv.*part, lr.*part, tok.*part, ln_w.*part, ln_b.*part,
          state_out.*part, y.*part},
         state_in.*part, state_in.*part, state_out.*part);
  }

  EXPECT_TRUE(windows_agree(heads, y));
  EXPECT_TRUE(states_agree(state_out));
}

// In decoding every head has scratch of its own, a multiple of its state. A
// state of 2^31 elements besides would take more than 26 GB.
class LongScratch : public LongHeads {
 protected:
  LongScratch() { give_back_output(); }

  // Runs f for both, and expects the scratch to have so many elements.
  template <class F>
  void run_both(F&& f) {
    MemoryPool& pool = ctx.pool();
    pool.reset_peaks();
    for (const auto part : kBoth) f(part);
    EXPECT_GT(pool.peak_bytes(MemoryUse::kScratch) -
                  pool.current_bytes(MemoryUse::kScratch),
              Windows::kBorder * size_of(DType::kF32));
  }
};

// The scratch has a copy of the state and room for it transposed.
TEST_F(LongScratch, DecodeForward) {
  constexpr int64_t kHeadSize = 128;
  set_shape(InnerModel::kLinear, kHeadSize, 2 * kHeadSize * kHeadSize);
  const Operand state_in = state();
  Operand y = unset_row(D), sum = state(), none;

  run_both([&](auto part) {
    ttt_decode_forward(
        ctx, {shape(part), xq.*part, xk.*part, xv.*part, lr.*part, tok.*part,
              ln_w.*part, ln_b.*part, state_in.*part, sum.*part, y.*part,
              sum.*part, none.*part});
  });

  EXPECT_TRUE(windows_agree(heads, y));
  EXPECT_TRUE(states_agree(sum));
}

// The scratch has the state, two sums, and room for one of them transposed.
TEST_F(LongScratch, DecodeBackward) {
  constexpr int64_t kHeadSize = 128;
  set_shape(InnerModel::kLinear, kHeadSize, 4 * kHeadSize * kHeadSize);
  const Operand state_in = state(), sum_in = state(), dsum_out = state(),
                dstate_last = state();
  Operand dxq = unset_row(D), dxk = unset_row(D), dxv = unset_row(D),
          dlr = unset_row(1), dtok = sums({kRows}), dln_w = unset_heads(),
          dln_b = unset_heads(), dstate = state(), dsum_in = state();

  run_both([&](auto part) {
    ttt_decode_backward(
        ctx, {shape(part),       xq.*part,     xk.*part,    xv.*part,
              lr.*part,          tok.*part,    ln_w.*part,  ln_b.*part,
              state_in.*part,    sum_in.*part, dy.*part,    dsum_out.*part,
              dstate_last.*part, dxq.*part,    dxk.*part,   dxv.*part,
              dlr.*part,         dtok.*part,   dln_w.*part, dln_b.*part,
              dstate.*part,      dsum_in.*part});
  });

  for (const Operand& rows : {dxq, dxk, dxv, dlr, dln_w, dln_b}) {
    EXPECT_TRUE(windows_agree(heads, rows));
  }
  EXPECT_TRUE(agree(dtok));
  EXPECT_TRUE(states_agree(dstate));
  EXPECT_TRUE(states_agree(dsum_in));
}

}  // namespace
}  // namespace timepipe
