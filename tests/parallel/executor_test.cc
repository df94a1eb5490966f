#include "parallel/executor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/parallel/message_checks.h"
#include "tests/parallel/schedule_shapes.h"
#include "tests/support/test_device.h"

// The executor with a program that computes nothing: what goes from rank to
// rank.

namespace timepipe {
namespace {

using testing::TestContext;
using testing::text_thrown;
using Kind = Operation::Kind;

class NoProgram final : public ChunkProgram {
 public:
  explicit NoProgram(const ScheduleShape& shape) : shape_(shape) {}
  void reserve_slabs(Context&, int64_t, int64_t, int64_t) override {}
  ChunkView view(int64_t micro_batch, int64_t chunk) const override {
    return {.micro_batch = micro_batch,
            .chunk = chunk,
            .first = 0,
            .rows = rows_of_one(1),
            .segments = {},
            .detached = false};
  }
  Tensor make_border(Context& ctx, int64_t micro_batch,
                     LayerBorder border) const override {
    return ctx.allocate(
        {shape_.bytes(micro_batch, border) / size_of(DType::kF32)}, DType::kF32,
        MemoryUse::kBorders);
  }
  void forward(Context&, Part, int64_t, const ChunkView&, int, const Tensor&,
               Tensor&) override {}
  void backward(Context&, Part, int64_t, const ChunkView&, int, const Tensor&,
                const Tensor&, Tensor&, GradientSum&) override {}

 private:
  const ScheduleShape& shape_;
};

// What the run before left for the first chunks of a shape.
std::vector<CarriedBorders::Entry> carried_into(Context& ctx,
                                                const ChunkProgram& program,
                                                const ScheduleShape& shape,
                                                int rank) {
  std::vector<CarriedBorders::Entry> entries;
  for (int64_t s = 0; s < std::ssize(shape.micro_batches); ++s) {
    for (int64_t l = 0; l < std::ssize(shape.layers); ++l) {
      for (const Border border :
           {Border::kHaloX, Border::kHaloQk, Border::kState}) {
        const LayerBorder b{border, l};
        if (!shape.continues(s, b)) continue;
        const int from = shape.carried_rank(s);
        entries.push_back(
            {s, b, from,
             from == rank ? program.make_border(ctx, s, b) : Tensor()});
      }
    }
  }
  return entries;
}

void run_lists(const ScheduleShape& shape,
               const std::vector<OperationList>& lists) {
  run_thread_ranks(shape.ranks, [&](Communicator& time) {
    TestContext ctx;
    NoProgram program(shape);
    GradientSum gradients(ctx, ParameterLayout(), DType::kF32);
    CarriedBorders carried;
    carried.set(carried_into(ctx, program, shape, time.rank()));
    const auto exchange = make_exchange(ctx, time);
    Executor(ctx, *exchange, program, &carried)
        .run(shape, lists[time.rank()], gradients);
  });
}

// Two ranks, a layer, states only.
ScheduleShape states(int64_t chunks) {
  ScheduleShape shape = whole_layers(2, 1, chunks, 0);
  shape.layers[0].border_bytes = {0, 0, 1000};
  return shape;
}

Operation& find(OperationList& list, Kind kind, Phase phase, int32_t chunk) {
  return *std::ranges::find_if(list, [&](const Operation& op) {
    return op.kind == kind && op.phase == phase && op.chunk == chunk;
  });
}

TEST(Executor, RunsTheListsOfAnyShape) {
  RandomShapes shapes(4);
  for (int i = 0; i < 40; ++i) {
    SCOPED_TRACE(i);
    const ScheduleShape shape = shapes.next();
    run_lists(shape, make_schedule(shape));
  }
}

TEST(Executor, NamesTwoMessagesThatChangedPlaces) {
  const ScheduleShape shape = states(6);
  const auto swapped = [&](int rank, Phase phase, int32_t a, int32_t b) {
    auto lists = make_schedule(shape);
    std::swap(find(lists[rank], Kind::kSend, phase, a).number,
              find(lists[rank], Kind::kSend, phase, b).number);
    return text_thrown<InvalidArgument>([&] { run_lists(shape, lists); });
  };
  EXPECT_EQ(
      swapped(0, Phase::kForward, 1, 3),
      "state of layer 0, chunk 1, micro-batch 0 from rank 0: message 1 of "
      "its lane came, expected message 0: it is state of layer 0, "
      "chunk 3, micro-batch 0");
  EXPECT_EQ(swapped(0, Phase::kBackward, 2, 4),
            "gradient of state of layer 0, chunk 4, micro-batch 0 from rank 0: "
            "message 1 of its lane came, expected message 0: it is "
            "gradient of state of layer 0, chunk 2, micro-batch 0");
}

// Rank 1 has what two layers carry to the next run, and sends it in another
// order than rank 0 expects.
TEST(CarriedBorders, NameTwoMessagesThatChangedPlaces) {
  ScheduleShape shape = whole_layers(2, 2, 3, 0);
  for (LayerShape& layer : shape.layers) layer.border_bytes = {0, 0, 1000};
  shape.micro_batches[0].front().takes_state = true;
  shape.carried_from = {1};
  auto lists = make_schedule(shape);
  std::swap(lists[1][0].number, lists[1][1].number);
  EXPECT_EQ(
      text_thrown<InvalidArgument>([&] { run_lists(shape, lists); }),
      "state of layer 0, chunk 0, micro-batch 0 from rank 1: message 1 of its "
      "lane came, expected message 0: it is state of layer 1, chunk 0, "
      "micro-batch 0");
}

}  // namespace
}  // namespace timepipe
