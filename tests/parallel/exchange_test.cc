#include "parallel/exchange.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <tuple>

#include "tests/parallel/exchange_checks.h"
#include "tests/parallel/message_checks.h"
#include "tests/support/test_device.h"

namespace timepipe {
namespace {

using ::testing::Combine;
using testing::exchange_checks;
using testing::exchange_kinds;
using testing::ExchangeCheck;
using testing::TestContext;
using ::testing::TestWithParam;
using testing::text_thrown;
using ::testing::Values;
using ::testing::ValuesIn;

using ThreadCase = std::tuple<int, ExchangeCheck>;
class ExchangeOfThreads : public TestWithParam<ThreadCase> {};

TEST_P(ExchangeOfThreads, Check) {
  const auto& [ranks, check] = GetParam();
  run_thread_ranks(ranks, check);
}

INSTANTIATE_TEST_SUITE_P(Exchange, ExchangeOfThreads,
                         Combine(Values(1, 2, 3, 4, 5),
                                 ValuesIn(exchange_checks())),
                         [](const ::testing::TestParamInfo<ThreadCase>& info) {
                           const ExchangeCheck& check = std::get<1>(info.param);
                           return std::string(check.name) + check.kind + "_" +
                                  std::to_string(std::get<0>(info.param)) +
                                  "_Ranks";
                         });

class ExchangeOfOne : public TestWithParam<ExchangeCheck> {};

TEST_P(ExchangeOfOne, Check) { GetParam()(*make_self_communicator()); }

INSTANTIATE_TEST_SUITE_P(
    Exchange, ExchangeOfOne, ValuesIn(exchange_checks()),
    [](const ::testing::TestParamInfo<ExchangeCheck>& info) {
      return std::string(info.param.name) + info.param.kind;
    });

TEST(ExchangeTest, ACollectiveThatARankNeverEntersIsNamed) {
  for (const auto& kind : exchange_kinds()) {
    EXPECT_EQ(text_thrown<Blocked>([&] {
                run_thread_ranks(
                    2,
                    [&](Communicator& comm) {
                      if (comm.rank() == 1) return;
                      TestContext ctx;
                      set_current_step(12);
                      Tensor in = ctx.zeros({2}, DType::kI64), out = in;
                      kind.make(ctx, comm)->reduce_scatter_sum(
                          in, std::vector<int64_t>{2, 0}, out);
                    },
                    0.1);
              }),
              "rank 0, step 12: waited 0.1 s for all ranks in "
              "reduce_scatter_sum");
  }
}

}  // namespace
}  // namespace timepipe
