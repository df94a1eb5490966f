#include "models/batch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/cross_entropy.h"
#include "runtime/error.h"
#include "tests/support/throws.h"

namespace timepipe {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::throws;

constexpr int64_t kMiniBatch = 4;

Sequence sequence_of(int64_t tokens, std::vector<Document> documents) {
  const auto n = static_cast<std::size_t>(tokens);
  std::vector<int64_t> targets(n, kIgnoredTarget);
  for (const Document& d : documents) {
    const int64_t end = std::min(d.first + d.tokens, tokens);
    for (int64_t t = std::max<int64_t>(d.first, 0); t < end; ++t) {
      targets[static_cast<std::size_t>(t)] = 1;
    }
  }
  return {.ids = std::vector<int64_t>(n, 1),
          .targets = std::move(targets),
          .documents = std::move(documents),
          .loss_scale = 1};
}

// A correct sequence, and then the one in question.
void expect_refused(Sequence sequence, const char* message) {
  const Batch batch = {sequence_of(4, {{0, 4, true}}), std::move(sequence)};
  EXPECT_THAT(
      [&] {
        ChunkedBatch(batch, {8, kMiniBatch, 0});
      },
      throws<InvalidArgument>(message));
}

using Row = std::tuple<int64_t, int64_t, int64_t, bool>;

std::vector<Row> segments(const ChunkedBatch& batch, int64_t chunk) {
  std::vector<Row> rows;
  for (const Segment& s : batch.view(0, chunk).segments) {
    rows.emplace_back(s.row, s.rows, s.context, s.resets);
  }
  return rows;
}

TEST(MakeSequence, ShiftsTheLabelsByOne) {
  const Sequence sequence = make_sequence({5, 6, 7, 8}, 0.25);
  EXPECT_THAT(sequence.ids, ElementsAre(5, 6, 7));
  EXPECT_THAT(sequence.targets, ElementsAre(6, 7, 8));
  ASSERT_EQ(sequence.documents.size(), 1u);
  EXPECT_EQ(sequence.documents[0].first, 0);
  EXPECT_EQ(sequence.documents[0].tokens, 3);
  EXPECT_TRUE(sequence.documents[0].resets);
  EXPECT_EQ(sequence.loss_scale, 0.25);
}

TEST(MakeSequence, NeedsATokenAndItsLabel) {
  EXPECT_EQ(make_sequence({5, 6}, 1).tokens(), 1);
  EXPECT_THAT([] { make_sequence({5}, 1); },
              throws<InvalidArgument>(
                  "sequence: 1 tokens, expected at least 2 (a token and its "
                  "label)"));
  EXPECT_THROW(make_sequence({}, 1), InvalidArgument);
}

TEST(NumChunks, CountsAShortLastChunk) {
  EXPECT_EQ(num_chunks(1, 4), 1);
  EXPECT_EQ(num_chunks(4, 4), 1);
  EXPECT_EQ(num_chunks(5, 4), 2);
}

TEST(ChunkedBatch, CutsDocumentsIntoSegments) {
  const ChunkedBatch batch(
      {sequence_of(
          27, {{0, 5, true}, {8, 9, false}, {20, 1, true}, {24, 3, true}})},
      {8, kMiniBatch});
  EXPECT_THAT(segments(batch, 0), ElementsAre(Row{0, 5, 0, true}));
  EXPECT_THAT(segments(batch, 1), ElementsAre(Row{0, 8, 0, false}));
  EXPECT_THAT(segments(batch, 2),
              ElementsAre(Row{0, 1, 8, false}, Row{4, 1, 0, true}));
  EXPECT_THAT(segments(batch, 3), ElementsAre(Row{0, 3, 0, true}));
  const ChunkView last = batch.view(0, 3);
  EXPECT_EQ(last.micro_batch, 0);
  EXPECT_EQ(last.chunk, 3);
  EXPECT_EQ(last.first, 24);
  EXPECT_EQ(last.rows.tokens, 3);
}

TEST(ChunkedBatch, RefusesLabelsOnPadding) {
  for (const int64_t token : {3, 10, 11}) {
    Sequence sequence = sequence_of(12, {{0, 3, true}, {4, 6, true}});
    sequence.targets[static_cast<std::size_t>(token)] = 5;
    const std::string message = "sequence 1, token " + std::to_string(token) +
                                ": padding has label 5, expected none";
    expect_refused(std::move(sequence), message.c_str());
  }
}

TEST(ChunkedBatch, TellsWhatCrossesTheBorders) {
  const ChunkedBatch batch(
      {sequence_of(23, {{0, 6, true}, {8, 1, false}, {16, 7, true}})},
      {4, kMiniBatch});
  const auto chunk = [](int64_t tokens, bool takes_state, bool takes_halo) {
    return ChunkShape{tokens, takes_state, takes_halo, false};
  };
  EXPECT_THAT(batch.shapes(),
              ElementsAre(ElementsAre(
                  chunk(4, false, false), chunk(4, true, true),
                  chunk(4, true, false),  // carries on
                  chunk(4, true, false),  // padding only: the state passes on
                  chunk(4, false, false), chunk(3, true, true))));
  EXPECT_THAT(segments(batch, 3), IsEmpty());
}

TEST(ChunkedBatch, DetachesEverySoManyChunks) {
  const auto detached = [](int64_t every) {
    const ChunkedBatch batch({sequence_of(17, {{0, 17, true}})},
                             {4, kMiniBatch, every});
    std::vector<bool> result;
    const MicroBatchShape shape = batch.shapes().at(0);
    for (std::size_t c = 0; c < shape.size(); ++c) {
      result.push_back(shape[c].detached);
      EXPECT_EQ(batch.view(0, c).detached, result[c]);
    }
    return result;
  };
  EXPECT_THAT(detached(0), ElementsAre(false, false, false, false, false));
  EXPECT_THAT(detached(1), ElementsAre(true, true, true, true, true));
  EXPECT_THAT(detached(2), ElementsAre(true, false, true, false, true));
}

TEST(ChunkedBatch, RefusesChunksThatCutMiniBatches) {
  for (const int64_t tokens : {0, 6, -4}) {
    EXPECT_THAT(
        [&] {
          ChunkedBatch({sequence_of(4, {{0, 4, true}})},
                       {tokens, kMiniBatch, 0});
        },
        throws<InvalidArgument>(
            "chunk_tokens: " + std::to_string(tokens) +
            ", expected a multiple of the mini-batch size 4"));
  }
}

TEST(ChunkedBatch, RefusesOtherThanOneTargetPerToken) {
  Sequence sequence = sequence_of(7, {{0, 7, true}});
  sequence.targets.pop_back();
  expect_refused(sequence, "sequence 1: 6 targets for 7 tokens");
}

TEST(ChunkedBatch, RefusesASequenceWithoutDocuments) {
  expect_refused(sequence_of(7, {}), "sequence 1: has no document");
  expect_refused(sequence_of(0, {}), "sequence 1: has no document");
}

TEST(ChunkedBatch, RefusesDocumentsInsideMiniBatches) {
  expect_refused(sequence_of(12, {{0, 5, true}, {6, 2, true}}),
                 "sequence 1, document 1: first token 6, expected a multiple "
                 "of the mini-batch size 4");
}

TEST(ChunkedBatch, RefusesDocumentsThatOverlapOrLeaveTheSequence) {
  expect_refused(sequence_of(12, {{0, 5, true}, {4, 2, true}}),
                 "sequence 1, document 1: tokens [4,6), expected at least "
                 "one, inside [5,12)");
  expect_refused(sequence_of(12, {{0, 5, true}, {8, 5, true}}),
                 "sequence 1, document 1: tokens [8,13), expected at least "
                 "one, inside [5,12)");
  expect_refused(sequence_of(12, {{0, 0, true}}),
                 "sequence 1, document 0: tokens [0,0), expected at least "
                 "one, inside [0,12)");
  expect_refused(sequence_of(12, {{-4, 4, true}}),
                 "sequence 1, document 0: tokens [-4,0), expected at least "
                 "one, inside [0,12)");
}

TEST(ChunkedBatch, RefusesAFirstDocumentWithNothingToCarryOnFrom) {
  const char* message =
      "sequence 1, document 0: must start at token 0, from the learned state "
      "unless the sequence goes on with that of the step before";
  expect_refused(sequence_of(12, {{0, 5, false}}), message);
  expect_refused(sequence_of(12, {{4, 5, true}}), message);
}

}  // namespace
}  // namespace timepipe
