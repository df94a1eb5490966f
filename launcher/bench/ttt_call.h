#pragma once

#include "kernels/ttt_scan.h"
#include "launcher/bench/operands.h"

namespace timepipe {

// One pass of a scan over a chunk of one sequence, with its three parts.
class TttCall {
 public:
  enum class Pass { kForward, kBackward };

  TttCall(Operands& operands, InnerModel inner, int64_t heads,
          int64_t head_size, int64_t mini_batch, int64_t tokens, Pass pass);
  TttCall(const TttCall&) = delete;
  TttCall& operator=(const TttCall&) = delete;

  void run() {
    before();
    chain();
    after();
  }
  void before();
  void chain();  // the only part that can't work on all mini-batches at once
  void after();

  // Of the pass as its equations say it: without what is computed again.
  double flops() const;

 private:
  Context& ctx_;
  Pass pass_;
  TttScan scan_;
  Segment all_;  // the chunk
  Tensor start_, state_in_, state_out_;
  TttScanGradients d_;
  Tensor dstate_out_, dstate_in_, dstart_;
};

// Inner rates of the size that the layer trains with: base_lr / head_size at
// most.
Tensor inner_rates(Operands& operands, InnerModel inner, int64_t tokens,
                   int64_t heads, int64_t head_size);
// 1/(i+1), about.
Tensor token_scales(Operands& operands, int64_t mini_batch);
// Products of one mini-batch of rows of one head, forward.
double ttt_flops(const TttShape& shape, int64_t rows);

}  // namespace timepipe
