#include "runtime/transfer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "tests/support/tensors.h"
#include "tests/support/test_device.h"
#include "tests/support/throws.h"

namespace timepipe {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using testing::from_f64;
using testing::same_bits;
using testing::TestContext;
using testing::throws;
using testing::to_f64;

class TransferOf : public ::testing::TestWithParam<DType> {
 protected:
  // [0, 1, ..., n)
  HostArray counting(Shape shape) {
    HostArray array(std::move(shape), GetParam());
    const auto fill = [&](auto zero) {
      using T = decltype(zero);
      double i = 0;
      for (T& v : array.values<T>()) v = static_cast<T>(i++);
    };
    if (GetParam() == DType::kI64) {
      fill(int64_t{});
    } else {
      dispatch_stored(GetParam(), fill);
    }
    return array;
  }

  TestContext ctx_;
};

INSTANTIATE_TEST_SUITE_P(Types, TransferOf,
                         ::testing::Values(DType::kF32, DType::kF64,
                                           DType::kBF16, DType::kI64),
                         [](const auto& info) { return name_of(info.param); });

TEST_P(TransferOf, DownloadGivesWhatWasUploaded) {
  for (const Shape& shape :
       {Shape{}, Shape{1}, Shape{7, 5}, Shape{0, 3}, Shape{2, 3, 1000}}) {
    const HostArray array = counting(shape);
    const Tensor t = upload(ctx_, array, MemoryUse::kParameters);
    EXPECT_EQ(ctx_.pool().current_bytes(MemoryUse::kParameters),
              MemoryPool::block_bytes(array.size_bytes()));
    EXPECT_EQ(t.shape(), shape);
    EXPECT_TRUE(same_bits(download(ctx_, t), array));
  }
}

TEST_P(TransferOf, SlicesAreRanges) {
  const Tensor t = upload(ctx_, counting({6, 2}));
  upload(ctx_, counting({2, 2}), t.slice(3, 5));
  HostArray expected = counting({6, 2});
  std::ranges::copy(counting({2, 2}).bytes(),
                    expected.bytes().begin() + 6 * size_of(GetParam()));
  EXPECT_TRUE(same_bits(download(ctx_, t), expected));
  EXPECT_TRUE(same_bits(download(ctx_, t.slice(3, 5)), counting({2, 2})));
}

TEST_P(TransferOf, DownloadLaterIsThereWhenItsEventIsOver) {
  const HostArray array = counting({9});
  const Tensor t = upload(ctx_, array);
  HostArray pinned = ctx_.pinned({9}, GetParam());
  const Event event = download_later(ctx_, t, pinned.bytes());
  event.synchronize();
  EXPECT_TRUE(event.done());
  EXPECT_TRUE(same_bits(pinned, array));
  EXPECT_THROW(download_later(ctx_, t, pinned.bytes().first(8)),
               InvalidArgument);
}

TEST_P(TransferOf, CopyIsOfTheElements) {
  const HostArray array = counting({4, 3});
  const Tensor from = upload(ctx_, array);
  const Tensor to = copy(ctx_, from);
  EXPECT_FALSE(to.same_memory(from));
  clear(ctx_, from);
  EXPECT_TRUE(same_bits(download(ctx_, to), array));
  copy(ctx_, to, from);
  copy(ctx_, to, to);
  EXPECT_TRUE(same_bits(download(ctx_, from), array));
  EXPECT_TRUE(same_bits(download(ctx_, to), array));
  EXPECT_TRUE(copy(ctx_, Tensor()).empty());
}

TEST_P(TransferOf, ClearSetsEveryElementOfItsRange) {
  const Tensor t = upload(ctx_, counting({5, 2}));
  clear(ctx_, t.slice(1, 5));
  HostArray expected = counting({5, 2});
  std::ranges::fill(expected.bytes().subspan(2 * size_of(GetParam())),
                    std::byte{0});
  EXPECT_TRUE(same_bits(download(ctx_, t), expected));
}

TEST(Transfer, SpansAreOfAnyShape) {
  TestContext ctx;
  Tensor t = ctx.zeros({2, 3}, DType::kF64);
  const std::vector<double> numbers = {1, 2, 3, 4, 5, 6};
  upload(ctx, std::span(numbers), t);
  std::vector<double> back(6, 0);
  download(ctx, t, std::span(back));
  EXPECT_EQ(back, numbers);
}

TEST(Transfer, OtherTypesAndSizesAreRefused) {
  TestContext ctx;
  const Tensor t = from_f64(ctx, {1, 2, 3}, {3}, DType::kF32);
  const std::vector<float> floats(2, 0);
  std::vector<int64_t> ids(3, 0);
  EXPECT_THAT(
      [&] { upload(ctx, std::span(floats), t); },
      throws<InvalidArgument>("upload of 8 bytes of f32, expected 12 of f32"));
  EXPECT_THAT(
      [&] { upload(ctx, HostArray({3}, DType::kF64), t); },
      throws<InvalidArgument>("upload of 24 bytes of f64, expected 12 of f32"));
  EXPECT_THAT([&] { download(ctx, t, std::span(ids)); },
              throws<InvalidArgument>(
                  "download of 12 bytes of f32, expected 24 of i64"));
  EXPECT_THAT(
      [&] { copy(ctx, t, ctx.zeros({2}, DType::kF32)); },
      throws<InvalidArgument>("copy of 12 bytes of f32, expected 8 of f32"));
  EXPECT_THROW(copy(ctx, t, ctx.zeros({3}, DType::kI64)), InvalidArgument);
  EXPECT_THAT(to_f64(ctx, t), ElementsAre(1, 2, 3));
}

TEST(Transfer, PlansHaveNothingToClear) {
  Context plan(MemoryPool::Mode::kCount);
  EXPECT_EQ(plan.zeros({int64_t{1} << 40}, DType::kF64).dim(0),
            int64_t{1} << 40);
}

TEST(TransportBytes, AreTheMemoryOfTheTensor) {
  Context ctx;
  const Tensor t = from_f64(ctx, {1, 2, 3, 4}, {4}, DType::kF64);
  {
    const TransportBytes whole(t), end(t.slice(2, 4));
    EXPECT_EQ(whole.get().size(), 32u);
    EXPECT_EQ(end.get().data(), whole.get().data() + 16);
    std::ranges::fill(end.get(), std::byte{0});
  }
  EXPECT_THAT(to_f64(ctx, t), ElementsAre(1, 2, 0, 0));
  EXPECT_TRUE(TransportBytes(Tensor()).get().empty());
}

TEST(TransportBytes, KeepTheTensorWhereverTheyAreMoved) {
  Context ctx;
  TransportBytes kept{Tensor()};
  const std::byte* memory = nullptr;
  {
    TransportBytes bytes(ctx.zeros({16}, DType::kF32));
    memory = bytes.get().data();
    TransportBytes moved(std::move(bytes));
    kept = std::move(moved);
  }
  EXPECT_EQ(ctx.pool().current_bytes(MemoryUse::kScratch), 64);
  EXPECT_EQ(kept.get().data(), memory);
  EXPECT_THAT(kept.get(), Each(std::byte{0}));
}

}  // namespace
}  // namespace timepipe
