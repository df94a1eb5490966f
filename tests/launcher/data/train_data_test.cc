#include "launcher/data/train_data.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "kernels/cross_entropy.h"
#include "runtime/error.h"
#include "runtime/files.h"
#include "runtime/safetensors.h"
#include "tests/support/temporary_file.h"
#include "tests/support/throws.h"

namespace timepipe {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::TemporaryFile;
using testing::throws;

// The count bytes first, first + 1, ...
std::string raw_bytes(int first, int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += static_cast<char>(first + i);
  return text;
}

// An .npy file of them: a text has no NUL.
std::string bytes(int first, int count) {
  const std::string header =
      "{'descr': '|u1', 'fortran_order': False, 'shape': (" +
      std::to_string(count) + ",)}\n";
  std::string text = "\x93NUMPY\x01";
  text += {'\0', static_cast<char>(header.size()), '\0'};
  return text + header + raw_bytes(first, count);
}

RunConfig config(const std::vector<std::string>& files) {
  RunConfig config;
  config.model.vocab_size = 256;
  config.data.train = files;
  config.data.sequence_length = 4;
  config.data.seed = 7;
  return config;
}

TEST(TrainData, EpochVisitsEachWindowOfAllFilesOnceAndNoHeldOutToken) {
  const TemporaryFile a(bytes(0, 101)), b(bytes(128, 50));
  RunConfig run = config({a.path(), b.path()});
  run.data.held_out = 0.2;  // trained: 81 tokens of a, 40 of b
  run.data.batch = 29;      // 20 windows of a, 9 of b: one epoch
  const TrainData data(run);
  std::set<int64_t> expected;
  for (int64_t i = 0; i < 20; ++i) expected.insert(4 * i);
  for (int64_t i = 0; i < 9; ++i) expected.insert(128 + 4 * i);
  for (int64_t step = 0; step < 3; ++step) {
    std::set<int64_t> seen;
    for (const Sequence& s : data.batch(step)) {
      seen.insert(s.ids.front());
      EXPECT_EQ(s.targets.back(), s.ids.front() + 4);
      EXPECT_EQ(s.loss_scale, 1.0 / (29 * 4));
    }
    EXPECT_EQ(seen, expected);
  }
  EXPECT_NE(data.batch(0)[0].ids, data.batch(1)[0].ids);
  ASSERT_EQ(data.num_held_out(), 4 + 2);
  EXPECT_EQ(data.held_out(0).ids.front(), 81);
  EXPECT_EQ(data.held_out(4).ids.front(), 128 + 40);
  EXPECT_THROW(data.held_out(6), InvalidArgument);
}

TEST(TrainData, OrderDependsOnTheIndexOfTheSequenceAlone) {
  const TemporaryFile a(bytes(0, 101));
  RunConfig run = config({a.path()});
  const TrainData single(run);
  run.data.batch = 5;
  const TrainData five(run);
  for (int64_t i = 0; i < 60; ++i) {
    EXPECT_EQ(five.batch(i / 5)[i % 5].ids, single.batch(i)[0].ids);
  }
}

TEST(TrainData, WeightsAreHonoured) {
  const TemporaryFile a(bytes(0, 41)), b(bytes(128, 21));
  RunConfig run = config({a.path(), b.path()});
  run.data.train_weights = {1, 3};
  run.data.batch = 400;
  std::map<int64_t, int> visits;
  for (const Sequence& s : TrainData(run).batch(0)) ++visits[s.ids.front()];
  // 100 visits of a's 10 windows, 300 of b's 5: whole epochs.
  for (int64_t i = 0; i < 10; ++i) EXPECT_EQ(visits[4 * i], 10);
  for (int64_t i = 0; i < 5; ++i) EXPECT_EQ(visits[128 + 4 * i], 60);
  run.data.train_weights = {1, 1e9};
  EXPECT_THAT([&] { TrainData data(run); },
              throws<InvalidArgument>(HasSubstr("data.train_weights")));
}

TEST(TrainData, KnowsHowFarStepsCome) {
  const TemporaryFile a(bytes(0, 41)), b(bytes(128, 21));  // 10, 5 windows
  RunConfig run = config({a.path(), b.path()});
  run.data.batch = 3;
  for (const bool carries : {false, true}) {
    run.data.carry_state = carries;
    const TrainData data(run);
    EXPECT_EQ(data.after(0).tokens, 0);
    EXPECT_EQ(data.after(0).epoch, 0);
    EXPECT_EQ(data.after(5).tokens, 5 * 3 * 4);
    EXPECT_EQ(data.after(5).epoch, 1);
    EXPECT_EQ(data.after(7).epoch, 21.0 / 15);
    EXPECT_TRUE(data.after(7).entry_epochs.empty());
  }
  run.data.carry_state = false;
  run.data.train_weights = {1, 3};
  run.data.batch = 300;
  const TrainData data(run);
  double of_a = 0, of_b = 0;
  for (int64_t steps = 1; 300 * steps < 2 * TrainData::kCycle; ++steps) {
    for (const Sequence& s : data.batch(steps - 1)) {
      ++(s.ids.front() < 128 ? of_a : of_b);
    }
    EXPECT_THAT(data.after(steps).entry_epochs,
                ::testing::ElementsAre(of_a / 10, of_b / 5));
    EXPECT_EQ(data.after(steps).epoch, (of_a + of_b) / 15);
  }
}

TEST(TrainData, PatternsStandForTheFilesThatMatchSorted) {
  const std::string name = TemporaryFile::unused_path().string();
  const std::vector<std::string> ends = {"-10.txt", "-2.txt", "-[.txt"};
  for (std::size_t i = 0; i < ends.size(); ++i) {
    write_file(name + ends[i], bytes(static_cast<int>(64 * i), 41));
  }
  const TemporaryFile b(bytes(192, 21));
  RunConfig run = config({name + "-*.txt", b.path(), name + "-[.txt"});
  const TrainData data(run);
  std::vector<std::string> paths;
  for (const auto& file : data.trained_files()) paths.push_back(file.path);
  EXPECT_THAT(paths,
              ::testing::ElementsAre(name + ends[0], name + ends[1],
                                     name + ends[2], b.path(), name + ends[2]));
  // A weight is that of all files of a pattern: as one file of their windows.
  run.data.train = {name + "-?*.txt", b.path()};
  run.data.train_weights = {1, 3};
  run.data.batch = 1200;
  std::map<int64_t, int> visits;
  for (const Sequence& s : TrainData(run).batch(0)) ++visits[s.ids.front()];
  ASSERT_EQ(visits.size(), 30u + 5u);
  for (const auto& [first, count] : visits) {
    EXPECT_EQ(count, first < 192 ? 10 : 180) << first;
  }
  run.data.train = {name + "-x*", b.path()};
  EXPECT_THAT(
      [&] { TrainData data(run); },
      throws<InvalidArgument>("data.train: " + name + "-x*: no file matches"));
  std::filesystem::create_symlink(name + "-circle", name + "-circle");
  run.data.train = {name + "-circle/*", b.path()};
  EXPECT_THAT([&] { TrainData data(run); },
              throws<IoError>("data.train: " + name + "-circle/*: " + name +
                              "-circle: Too many levels of symbolic links"));
  std::filesystem::remove(name + "-circle");
  run.data.train = {b.path(), b.path()};
  run.eval.data = {name + "-[12]*.txt"};
  EXPECT_EQ(TrainData(run).num_held_out(), 20);
  for (const std::string& end : ends) std::filesystem::remove(name + end);
}

TEST(TrainData, KnowsDataByTokensAndByDocumentsThatCount) {
  const auto save = [](const std::vector<int64_t>& documents) {
    const std::string tokens = raw_bytes(0, 20);
    const SafetensorsItem items[] = {
        {"tokens", "U8", {20}, std::as_bytes(std::span(tokens))},
        {"documents",
         "I64",
         {std::ssize(documents)},
         std::as_bytes(std::span(documents))}};
    const std::string path =
        TemporaryFile::unused_path().string() + ".safetensors";
    write_safetensors(path, items);
    return path;
  };
  const TemporaryFile text(bytes(0, 20));
  const std::string a = save({0, 9}), b = save({0, 5});
  const auto hash = [](const std::string& path, Documents documents) {
    RunConfig run = config({path});
    run.data.documents = documents;
    run.data.bos_id = 1;
    return TrainData(run).trained_files().at(0).hash;
  };
  EXPECT_EQ(hash(a, Documents::kJoined), hash(text.path(), Documents::kJoined));
  EXPECT_EQ(hash(a, Documents::kJoined), hash(b, Documents::kJoined));
  EXPECT_NE(hash(a, Documents::kReset), hash(b, Documents::kReset));
  EXPECT_NE(hash(a, Documents::kReset), hash(text.path(), Documents::kReset));
  for (const std::string& path : {a, b}) std::filesystem::remove(path);
}

TEST(TrainData, JaxLossMasksBosAndTakesTheMeanPerSequence) {
  const TemporaryFile a(std::string("abxcxabcx", 9));
  RunConfig run = config({a.path()});
  run.data.loss = Loss::kJax;
  run.data.bos_id = 'x';
  run.data.batch = 2;
  for (const Sequence& s : TrainData(run).batch(0)) {
    const bool first = s.ids.front() == 'a';  // targets bxcx, else abcx
    EXPECT_EQ(s.targets[1] == kIgnoredTarget, first);
    EXPECT_EQ(s.targets[3], kIgnoredTarget);
    EXPECT_EQ(s.loss_scale, 0.5 / (first ? 2 : 3));
  }
}

// A window may be without a label; not all of them.
TEST(TrainData, RefusesFilesThatLeaveNoLabel) {
  const TemporaryFile none("xxxxxxxxx"), some("xxxxxabcd"), apart("|||||||||");
  RunConfig run = config({none.path(), none.path()});
  run.data.loss = Loss::kJax;
  run.data.bos_id = 'x';
  run.data.batch = 2;
  EXPECT_THAT([&] { TrainData data(run); },
              throws<InvalidArgument>(
                  "data.train: " + none.path() +
                  " and 1 more: no token of 4 window(s) has a label, expected "
                  "one at least (a document's last token has none; with "
                  "data.loss = jax also none before data.bos_id = 120)"));
  run.data.train = {some.path()};
  for (const Sequence& s : TrainData(run).batch(0)) {
    EXPECT_EQ(s.labels(), s.ids[3] == 'x' ? 0 : 4);
    EXPECT_EQ(s.loss_scale, s.ids[3] == 'x' ? 0 : 0.5 / 4);
  }
  run.eval.every = 1;
  run.eval.data = {none.path()};
  EXPECT_THAT([&] { TrainData data(run); },
              throws<InvalidArgument>(HasSubstr("eval.data: " + none.path() +
                                                ": no token of 1 window(s)")));
  run.eval.sequences = 2;
  run.eval.data = {some.path()};
  EXPECT_NO_THROW(TrainData data(run));

  run = config({apart.path()});
  run.model.mini_batch_size = 4;
  run.data.bos_id = '|';
  for (const Documents documents : {Documents::kReset, Documents::kCarry}) {
    run.data.documents = documents;
    EXPECT_THAT([&] { TrainData data(run); },
                throws<InvalidArgument>(HasSubstr(
                    "no token of 9 window(s) has a label, expected one at "
                    "least (a document's last token has none)")));
  }
  run.data.documents = Documents::kJoined;
  EXPECT_NO_THROW(TrainData data(run));
}

TEST(TrainData, NamesWhatItRefuses) {
  const TemporaryFile shorter("abcd"), a("abcdefghijklmnopqrst");
  EXPECT_THAT([&] { TrainData data(config({shorter.path()})); },
              throws<InvalidArgument>(
                  "data.train: " + shorter.path() +
                  ": 4 tokens, expected more than data.sequence_length = 4"));
  RunConfig run = config({a.path()});
  run.model.vocab_size = 255;
  EXPECT_THAT([&] { TrainData data(run); },
              throws<InvalidArgument>(HasSubstr("model.vocab_size")));
  run = config({a.path()});
  run.data.documents = Documents::kReset;
  EXPECT_THAT([&] { TrainData data(run); },
              throws<InvalidArgument>(
                  AllOf(HasSubstr("data.bos_id: -1"), HasSubstr(a.path()))));
  run = config({a.path()});
  run.data.carry_state = true;
  run.data.batch = 5;  // 4 windows
  EXPECT_THAT([&] { TrainData data(run); },
              throws<InvalidArgument>(
                  HasSubstr("data.batch: 5, expected at most 4, ")));
  run = config({a.path()});
  run.eval.data = {a.path(), shorter.path()};
  run.eval.every = 1;
  run.eval.sequences = 5;
  EXPECT_THAT([&] { TrainData data(run); },
              throws<InvalidArgument>(
                  HasSubstr("eval.sequences: 5, expected at most 4, ")));
}

TEST(TrainData, SeedsOfFilesDoNotFollowOneAnother) {
  const TemporaryFile a(bytes(0, 201));
  RunConfig run = config({a.path(), a.path()});
  run.data.train_weights = {1, 1};
  const auto order_of = [&](uint64_t seed, int64_t file) {
    run.data.seed = seed;
    const TrainData data(run);
    std::vector<int64_t> order;
    for (int64_t i = file; i < 100; i += 2) {
      order.push_back(data.batch(i)[0].ids[0]);
    }
    return order;
  };
  EXPECT_NE(order_of(7, 1), order_of(8, 0));
  EXPECT_NE(order_of(7, 1), order_of(7, 0));
}

TEST(TrainData, EvaluatesFilesOfTheirOwn) {
  const TemporaryFile a(bytes(0, 101)), b(bytes(128, 13)), c(bytes(160, 9));
  RunConfig run = config({a.path()});
  run.data.held_out = 0.2;
  run.eval.data = {b.path(), c.path()};
  run.eval.every = 1;
  run.eval.sequences = 3;
  const TrainData data(run);
  ASSERT_EQ(data.num_held_out(), 3 + 2);
  EXPECT_EQ(data.held_out(0).ids.front(), 128);
  EXPECT_EQ(data.held_out(3).ids.front(), 160);
  EXPECT_EQ(data.held_out(3).loss_scale, 1.0 / 4);
  EXPECT_EQ(data.held_out_batch(0, 3)[2].loss_scale, 1.0 / 12);
  EXPECT_EQ(data.held_out_batch(2, 1)[0].loss_scale, 1.0 / 12);
  EXPECT_EQ(data.held_out_batch(2, 1)[0].ids, data.held_out(2).ids);
  EXPECT_EQ(data.trained_files().size(), 1u);
  run.eval.data = {b.path()};
  EXPECT_NE(TrainData(run).hash(), data.hash());  // ranks must agree on all
  EXPECT_EQ(TrainData(run).trained_files()[0].hash,
            data.trained_files()[0].hash);
}

}  // namespace
}  // namespace timepipe
