// A chain of very many mini-batches on a device: what rounding does to the
// state must not add up.

#include <gtest/gtest.h>

#include "tests/kernels/ttt_scan_problem.h"

namespace timepipe::testing {
namespace {

constexpr Device kDevice{.kind = Device::Kind::kCuda, .index = 0};
constexpr int64_t kMiniBatches = 65'536;

// Random rows of f32. Small rates: the state forgets slowly what rounding did.
ScanProblem long_problem(Context& ctx, InnerModel inner) {
  const TttShape shape{inner, /*heads=*/1, /*head_size=*/4,
                       /*mini_batch=*/16};
  const int64_t rows = kMiniBatches * shape.mini_batch;
  ScanProblem p = random_problem(
      ctx, shape, rows,
      {{.row = 0, .rows = rows, .context = rows, .resets = true}}, DType::kF32);
  p.lr = filled(ctx, 0.01, p.lr.shape(), DType::kF32);
  return p;
}

// The state that the whole chain leaves on the device of ctx, computed in
// `dtype` from the same numbers. p lies on the host.
std::vector<double> last_state(Context& ctx, ScanProblem p, DType dtype) {
  Context host;
  for (Tensor* t : {&p.xq, &p.xk, &p.xv, &p.lr, &p.tok, &p.ln_w, &p.ln_b,
                    &p.start, &p.state_in}) {
    *t = upload(ctx, converted(download(host, *t), dtype));
  }
  ScanOutputs out{
      nans(ctx, p.xq.shape(), dtype), nans_like(ctx, p.start),
      nans(ctx, {ttt_scan_kept_elements(ctx.device(), p.shape, p.rows())},
           dtype)};
  const TttScan scan = out.of(p);
  ttt_scan_prepare(ctx, scan);
  ttt_scan_forward(ctx, scan, p.start, p.state_in, out.state_out);
  return to_f64(ctx, out.state_out);
}

class Drift : public ::testing::TestWithParam<InnerModel> {};

TEST_P(Drift, OfTheStateIsThatOfTheCpu) {
  Context host, device(kDevice);
  const ScanProblem p = long_problem(host, GetParam());
  const std::vector<double> exact = last_state(host, p, DType::kF64);
  const double cpu = relative_l2(last_state(host, p, DType::kF32), exact);
  const double cuda = relative_l2(last_state(device, p, DType::kF32), exact);
  EXPECT_GT(cpu, 0);
  EXPECT_LE(cuda, 2 * cpu);
}

INSTANTIATE_TEST_SUITE_P(BothModels, Drift,
                         Values(InnerModel::kLinear, InnerModel::kMlp),
                         [](const auto& info) {
                           return name_of_model(info.param);
                         });

}  // namespace
}  // namespace timepipe::testing
