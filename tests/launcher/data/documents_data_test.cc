#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "kernels/cross_entropy.h"
#include "launcher/data/sequence_packer.h"
#include "launcher/data/train_data.h"
#include "runtime/error.h"
#include "runtime/safetensors.h"
#include "tests/support/temporary_file.h"

// Sequences of packed documents, and sequences that go on from step to step.

namespace timepipe {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::TemporaryFile;

constexpr int64_t kMiniBatch = 4;

TEST(SequencePacker, StartsDocumentsAtMiniBatchesAndSplitsWhatIsLong) {
  // Documents of 5, 1, 14 and 2 tokens.
  const SequencePacker packer({3, 8, 9, 23}, 25, 12, kMiniBatch);
  ASSERT_EQ(packer.num_sequences(), 3);
  EXPECT_THAT(packer.pieces(0), ElementsAre(PackedPiece{0, 3, 5, true, true},
                                            PackedPiece{8, 8, 1, true, true}));
  EXPECT_THAT(packer.pieces(1),
              ElementsAre(PackedPiece{0, 9, 12, true, false}));
  EXPECT_THAT(packer.pieces(2), ElementsAre(PackedPiece{0, 21, 2, false, true},
                                            PackedPiece{4, 23, 2, true, true}));
  EXPECT_EQ(packer.labels(0), 4 + 0);
  EXPECT_EQ(packer.labels(1), 12);
  EXPECT_EQ(packer.labels(2), 1 + 1);
}

TEST(SequencePacker, ReadsEveryTokenOnceWhateverTheLengths) {
  for (int64_t length = 1; length <= 17; ++length) {
    std::vector<int64_t> starts = {0};
    for (int64_t n = 1; n <= 14; ++n) starts.push_back(starts.back() + n);
    const int64_t end = starts.back() + 9;
    const SequencePacker packer(starts, end, length, kMiniBatch);
    int64_t next = 0;
    for (int64_t s = 0; s < packer.num_sequences(); ++s) {
      int64_t row = 0;
      for (const PackedPiece& piece : packer.pieces(s)) {
        EXPECT_EQ(piece.first, next);
        EXPECT_EQ(piece.row, (row + kMiniBatch - 1) / kMiniBatch * kMiniBatch);
        EXPECT_GE(piece.tokens, 1);
        next += piece.tokens;
        row = piece.row + piece.tokens;
        EXPECT_LE(row, length);
      }
    }
    EXPECT_EQ(next, end) << length;
  }
  EXPECT_EQ(SequencePacker({}, 0, 8, kMiniBatch).num_sequences(), 0);
}

// Documents "aaaaaaa|", of 1 to 18 letters, a letter for each.
std::string documents_text() {
  std::string text;
  for (int i = 0; i < 18; ++i) {
    text += '|' + std::string(static_cast<std::size_t>(i * 7 % 19),
                              static_cast<char>('a' + i));
  }
  return text;
}

RunConfig config(const std::string& path, Documents documents) {
  RunConfig config;
  config.model.vocab_size = 256;
  config.model.mini_batch_size = kMiniBatch;
  config.model.pre_conv = true;  // looks back to 3 tokens
  config.data.train = {path};
  config.data.sequence_length = 16;
  config.data.documents = documents;
  config.data.bos_id = '|';
  return config;
}

// The text that the documents of a sequence hold; all else must be padding.
std::string text_of(const Sequence& sequence) {
  std::string text;
  std::vector<bool> padding(sequence.ids.size(), true);
  for (const Document& d : sequence.documents) {
    EXPECT_EQ(d.first % kMiniBatch, 0);
    for (int64_t t = d.first; t < d.first + d.tokens; ++t) {
      const auto i = static_cast<std::size_t>(t);
      text += static_cast<char>(sequence.ids[i]);
      padding[i] = false;
      const bool last = t + 1 == d.first + d.tokens;
      if (!last) {
        EXPECT_EQ(sequence.targets[i], sequence.ids[i + 1]);
      }
      if (last && d.first + d.tokens < sequence.tokens()) {
        EXPECT_EQ(sequence.targets[i], kIgnoredTarget)
            << "of the next document";
      }
    }
  }
  for (std::size_t i = 0; i < padding.size(); ++i) {
    if (padding[i]) {
      EXPECT_EQ(sequence.targets[i], kIgnoredTarget);
    }
  }
  return text;
}

TEST(PackedDocuments, EpochReadsEveryTokenOnceWithTheRightLabels) {
  const std::string text = documents_text();
  const TemporaryFile file(text);
  for (const Documents documents : {Documents::kReset, Documents::kCarry}) {
    RunConfig run = config(file.path(), documents);
    const int64_t windows =
        SequencePacker(
            document_starts(TokenFile(file.path()), 0,
                            static_cast<int64_t>(text.size()), '|', 256),
            static_cast<int64_t>(text.size()), 16, kMiniBatch)
            .num_sequences();
    run.data.batch = windows;  // an epoch
    const TrainData data(run);
    for (int64_t step = 0; step < 2; ++step) {
      std::map<char, int> left;
      for (const char c : text) ++left[c];
      int64_t labels = 0;
      const Batch batch = data.batch(step);
      for (const Sequence& s : batch) {
        EXPECT_EQ(s.tokens(), 16);
        EXPECT_TRUE(s.documents.front().resets);
        for (std::size_t d = 1; d < s.documents.size(); ++d) {
          EXPECT_EQ(s.documents[d].resets, documents == Documents::kReset);
        }
        for (const char c : text_of(s)) --left[c];
        labels += s.tokens() - std::ranges::count(s.targets, kIgnoredTarget);
        EXPECT_NO_THROW(ChunkedBatch({s}, {8, kMiniBatch}));
      }
      for (const auto& [c, n] : left) EXPECT_EQ(n, 0) << c;
      // All tokens but the documents' first are labels.
      EXPECT_EQ(labels, static_cast<int64_t>(text.size()) - 18);
      EXPECT_EQ(batch[0].loss_scale, 1.0 / static_cast<double>(labels));
      EXPECT_EQ(batch[1].loss_scale, batch[0].loss_scale);
    }
    // A function of the index of the sequence alone.
    run.data.batch = 1;
    EXPECT_EQ(TrainData(run).batch(windows + 2)[0].ids, data.batch(1)[2].ids);
  }
}

TEST(PackedDocuments, AreThoseThatTheFileLists) {
  const std::string tokens = "abcdefghij|klmnopqrstuvwxyz";
  const std::vector<int64_t> starts = {0, 3, 9};
  const TemporaryFile file("", ".safetensors");
  const auto size = static_cast<int64_t>(tokens.size());
  const std::vector<SafetensorsItem> items = {
      {"documents", "I64", {3}, std::as_bytes(std::span(starts))},
      {"tokens", "U8", {size}, std::as_bytes(std::span(tokens))}};
  write_safetensors(file.path(), items);
  const TokenFile read(file.path());
  EXPECT_THAT(document_starts(read, 0, size, '|', 256), ElementsAre(0, 3, 9));
  EXPECT_THAT(document_starts(read, 3, 9, -1, 256), ElementsAre(3));
  EXPECT_THAT(document_starts(read, 4, size, -1, 256), ElementsAre(4, 9));
  EXPECT_THAT(document_starts(read, 12, size, -1, 256), ElementsAre(12));
  EXPECT_THAT(document_starts(read, 5, 5, -1, 256), IsEmpty());

  RunConfig run = config(file.path(), Documents::kReset);
  run.data.held_out = 0.5;  // its part of a document starts afresh
  const TrainData data(run);
  ASSERT_EQ(data.num_held_out(), 1);
  EXPECT_EQ(text_of(data.held_out(0)), "nopqrstuvwxyz");
}

// Sequence s of all steps of an epoch, put together, is a stretch of the text.
TEST(CarriedSequences, ReadTheFilesInTheirOrder) {
  const std::string text = documents_text();
  const TemporaryFile first(text), second(text.substr(0, 70));
  for (const Documents documents :
       {Documents::kJoined, Documents::kReset, Documents::kCarry}) {
    RunConfig run = config(first.path(), documents);
    run.data.train.push_back(second.path());
    run.data.carry_state = true;
    run.data.batch = 3;
    const TrainData data(run);
    std::vector<std::string> read(3);
    std::vector<bool> ended(3, false);
    std::vector<Batch> batches;
    for (int64_t step = 0; step < 40; ++step)
      batches.push_back(data.batch(step));
    for (std::size_t s = 0; s < 3; ++s) {
      EXPECT_FALSE(batches[0][s].continues);
      const std::vector<int64_t> start = batches[0][s].ids;
      for (std::size_t step = 0; step + 1 < batches.size(); ++step) {
        const Sequence& now = batches[step][s];
        const Sequence& next = batches[step + 1][s];
        EXPECT_EQ(now.hands_on, next.continues);
        EXPECT_EQ(next.documents[0].resets, !next.continues);
        EXPECT_TRUE(next.continues || next.ids_before.empty());
        if (!next.ids_before.empty()) {
          EXPECT_EQ(next.ids_before,
                    std::vector<int64_t>(now.ids.end() - 3, now.ids.end()));
          EXPECT_EQ(now.targets.back(), next.ids.front());
        }
        if (documents == Documents::kReset) {
          EXPECT_EQ(next.continues, !next.ids_before.empty());
        }
        EXPECT_NO_THROW(ChunkedBatch({next}, {8, kMiniBatch}));
        ended[s] = ended[s] || (step > 0 && now.ids == start);
        if (!ended[s]) read[s] += text_of(now);
      }
      EXPECT_TRUE(ended[s]);
    }
    const std::string all = read[0] + read[1] + read[2];
    if (documents == Documents::kJoined) {
      EXPECT_EQ(all, text.substr(0, (text.size() - 1) / 16 * 16) +
                         text.substr(0, 69 / 16 * 16));
    } else {
      EXPECT_EQ(all, text + text.substr(0, 70));
    }
  }
}

bool same(const Sequence& a, const Sequence& b) {
  const auto same_document = [](const Document& x, const Document& y) {
    return x.first == y.first && x.tokens == y.tokens && x.resets == y.resets;
  };
  return a.ids == b.ids && a.targets == b.targets &&
         std::ranges::equal(a.documents, b.documents, same_document) &&
         a.loss_scale == b.loss_scale && a.continues == b.continues &&
         a.hands_on == b.hands_on && a.ids_before == b.ids_before;
}

// Of the others' sequences they know the length. Together the ranks read a step
// once, whatever its sequences weigh.
TEST(DataRanks, ReadTheirOwnSequencesAlone) {
  const TemporaryFile file(documents_text());
  for (const Documents documents : {Documents::kJoined, Documents::kReset}) {
    for (const bool carries : {false, true}) {
      for (const Loss loss : {Loss::kTokenMean, Loss::kJax}) {
        RunConfig run = config(file.path(), documents);
        run.data.carry_state = carries;
        run.data.loss = loss;
        run.data.batch = 5;
        const TrainData data(run);
        const Batch whole = data.batch(1);
        for (const int ranks : {1, 2, 3, 5}) {
          int64_t read = 0;
          for (int rank = 0; rank < ranks; ++rank) {
            const Batch batch = data.batch(1, {rank, ranks});
            ASSERT_EQ(std::ssize(batch), 5);
            for (int64_t s = 0; s < 5; ++s) {
              read += std::ssize(batch[s].ids);
              EXPECT_EQ(batch[s].tokens(), 16);
              if (s % ranks == rank) {
                EXPECT_TRUE(same(batch[s], whole[s]));
              } else {
                EXPECT_TRUE(batch[s].ids.empty() && batch[s].targets.empty());
              }
            }
          }
          EXPECT_EQ(read, 5 * 16);
        }
      }
    }
  }
}

TEST(DataRanks, ReadTheirOwnPartOfAnEvaluationPieceByPiece) {
  const TemporaryFile file(documents_text());
  for (const Loss loss : {Loss::kTokenMean, Loss::kJax}) {
    RunConfig run = config(file.path(), Documents::kReset);
    run.data.loss = loss;
    run.eval.data = {file.path()};
    run.eval.every = 1;
    run.eval.sequences = 7;
    const TrainData data(run);
    const Batch whole = data.held_out_batch(0, 7);
    double weight = 0;  // of all labels: the loss is a mean
    for (int64_t first = 0; first < 7; first += 3) {
      const int64_t count = std::min<int64_t>(3, 7 - first);
      const Batch even = data.held_out_batch(first, count, {0, 2});
      const Batch odd = data.held_out_batch(first, count, {1, 2});
      for (int64_t i = 0; i < count; ++i) {
        EXPECT_TRUE(same((i % 2 == 0 ? even : odd)[i], whole[first + i]));
        EXPECT_TRUE((i % 2 == 0 ? odd : even)[i].ids.empty());
        weight += whole[first + i].loss_scale *
                  static_cast<double>(whole[first + i].labels());
      }
    }
    EXPECT_NEAR(weight, 1, 1e-12);
  }
}

TEST(CarriedSequences, GoOnFromAStateThatIsGiven) {
  const TemporaryFile file(documents_text());
  RunConfig run = config(file.path(), Documents::kReset);
  run.data.carry_state = true;
  run.data.batch = 2;
  run.data.start_state = "state.safetensors";
  const TrainData data(run);
  for (const Sequence& sequence : data.batch(0)) {
    EXPECT_TRUE(sequence.continues);
    EXPECT_FALSE(sequence.documents[0].resets);
    EXPECT_THAT(sequence.ids_before, IsEmpty());
    EXPECT_NO_THROW(ChunkedBatch({sequence}, {8, kMiniBatch}));
  }
}

}  // namespace
}  // namespace timepipe
