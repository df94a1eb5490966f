#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "launcher/checkpoint/checkpoint.h"
#include "launcher/config/config_text.h"
#include "models/build.h"
#include "models/decoder.h"
#include "tests/launcher/trainer/training_scenario.h"
#include "tests/support/temporary_file.h"
#include "tests/support/test_device.h"
#include "tests/support/threads.h"
#include "tests/support/throws.h"

// What sequences carry from step to step, over skipped steps, checkpoints and
// hidden-state files.

namespace timepipe::testing {
namespace {

using ::testing::HasSubstr;
using testing::throws;

// A folder that is removed when this goes.
struct TemporaryFolder {
  std::string path = TemporaryFile::unused_path().string();
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
};

struct TrainerRun {
  TestContext ctx;
  Trainer trainer;

  const Scenario scenario;

  TrainerRun(const Scenario& scenario, const Layout& layout,
             Communicator& world)
      : trainer(make_trainer(scenario, layout, ctx, world)),
        scenario(scenario) {
    initialise(ctx, scenario.model, 1, trainer.model().weights());
  }
  int64_t sequences() const { return std::ssize(scenario.lengths); }
};

RunConfig config_of(const TrainerRun& run, const std::string& folder) {
  RunConfig config;
  config.model = run.scenario.model;
  config.run_dir = folder;
  config.data.batch = run.sequences();
  return config;
}

void save_after(TrainerRun& run, Communicator& world, const std::string& folder,
                int64_t steps) {
  const RunConfig config = config_of(run, folder);
  CheckpointWriter writer(run.ctx, world, config, run.trainer, {}, "");
  writer.save(steps, 0, run.trainer.optimizer().digest());
  ASSERT_EQ(writer.settle(true), CheckpointWriter::Outcome::kCommitted);
}

std::vector<uint64_t> digests_from(TrainerRun& run, int64_t first,
                                   int64_t last) {
  std::vector<uint64_t> digests;
  for (int64_t step = first; step < last; ++step) {
    digests.push_back(run_step(run.trainer, run.scenario, step).digest);
  }
  return digests;
}

// On ranks that are threads, of one OpenMP thread each.
template <class F>
void on_layout(const Scenario& scenario, const Layout& layout, F&& body) {
  run_thread_ranks(static_cast<int>(layout.time * layout.data),
                   [&](Communicator& world) {
                     const Threads one_thread(1);
                     TrainerRun run(scenario, layout, world);
                     body(run, world);
                   });
}
template <class F>
void on_layout(const Layout& layout, F&& body) {
  on_layout(carried(), layout, body);
}

class CarriedOnAnyLayout : public ::testing::TestWithParam<const char*> {};

TEST_P(CarriedOnAnyLayout, GoesOnFromACheckpointWithTheSameBits) {
  constexpr int64_t kSaved = 3, kSteps = 7;
  const Scenario scenario = scenario_named(GetParam());
  std::vector<uint64_t> expected;
  on_layout(scenario, {1, 1}, [&](TrainerRun& run, Communicator&) {
    digests_from(run, 0, kSaved);
    expected = digests_from(run, kSaved, kSteps);
  });
  std::vector<TemporaryFolder> folders(3);
  const std::vector<Layout> writers = {{1, 1}, {3, 1}, {2, 2}};
  for (std::size_t w = 0; w < writers.size(); ++w) {
    on_layout(scenario, writers[w], [&](TrainerRun& run, Communicator& world) {
      digests_from(run, 0, kSaved);
      save_after(run, world, folders[w].path, kSaved);
    });
    const CheckpointReader checkpoint(
        checkpoint_folder(folders[w].path, kSaved));
    EXPECT_NO_THROW(checkpoint.verify());
    EXPECT_EQ(first_difference(
                  CheckpointReader(checkpoint_folder(folders[0].path, kSaved)),
                  checkpoint),
              "");
    for (const Layout& reader : std::vector<Layout>{{1, 1}, {4, 1}, {2, 2}}) {
      on_layout(scenario, reader, [&](TrainerRun& run, Communicator&) {
        restore(run.ctx, checkpoint, run.trainer, run.sequences());
        EXPECT_EQ(digests_from(run, kSaved, kSteps), expected);
      });
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Scenarios, CarriedOnAnyLayout,
                         ::testing::Values("carried", "carried_side_by_side"),
                         [](const auto& info) { return info.param; });

// Stopped and resumed three times. All that is done between two of the stops is
// a step that is skipped: what is saved then is what was restored.
TEST(CarriedStates, GoOnFromCheckpointToCheckpointWithTheSameBits) {
  constexpr int64_t kSkipped = 2, kSteps = 7;
  struct Stretch {
    int64_t first, end;  // steps
    Layout layout;
  };
  const auto train = [](TrainerRun& run, const Stretch& stretch) {
    std::vector<uint64_t> digests;
    for (int64_t step = stretch.first; step < stretch.end; ++step) {
      Batch batch = scenario_batch(carried(), step);
      if (step == kSkipped) batch[0].loss_scale = 1e30;
      const auto result = run.trainer.step(batch, 1e-3, 1.0, step);
      EXPECT_EQ(result.finite, step != kSkipped);
      digests.push_back(result.digest);
    }
    return digests;
  };
  std::vector<uint64_t> expected;
  on_layout({1, 1}, [&](TrainerRun& run, Communicator&) {
    expected = train(run, {0, kSteps, {}});
  });
  const TemporaryFolder folder;
  for (const Stretch& stretch : std::vector<Stretch>{{0, 2, {2, 2}},
                                                     {2, 3, {3, 1}},
                                                     {3, 4, {1, 2}},
                                                     {4, kSteps, {1, 1}}}) {
    SCOPED_TRACE(stretch.first);
    on_layout(stretch.layout, [&](TrainerRun& run, Communicator& world) {
      if (stretch.first > 0) {
        const CheckpointReader checkpoint(
            checkpoint_folder(folder.path, stretch.first));
        restore(run.ctx, checkpoint, run.trainer, 2);
      }
      EXPECT_EQ(train(run, stretch),
                std::vector<uint64_t>(expected.begin() + stretch.first,
                                      expected.begin() + stretch.end));
      save_after(run, world, folder.path, stretch.end);
    });
  }
}

TEST(CarriedStates, OfACheckpointMustBeThisModels) {
  const TemporaryFolder folder;
  on_layout({1, 1}, [&](TrainerRun& run, Communicator& world) {
    digests_from(run, 0, 1);
    save_after(run, world, folder.path, 1);
    const CheckpointReader checkpoint(checkpoint_folder(folder.path, 1));
    EXPECT_THAT(
        [&] { restore(run.ctx, checkpoint, run.trainer, 1); },
        throws<InvalidArgument>(HasSubstr("carried.1.0.halo_qk: 96 elements")));
  });
}

// A sequence of one document of 8 tokens, whose text is that of the step
// before.
Sequence that_goes_on() {
  Sequence sequence = make_sequence({1, 2, 3, 4, 5, 6, 7, 8, 9}, 1.0);
  sequence.continues = sequence.hands_on = true;
  sequence.documents[0].resets = false;
  sequence.ids_before = {61, 62, 63};
  return sequence;
}

// How a sequence starts at `step`, after steps that were finite or not.
std::string start_after(const std::vector<bool>& finite, int64_t step) {
  const auto world = make_self_communicator();
  TestContext ctx;
  const ProcessGrid grid(ctx, *world, 1, 1);
  CarriedState carried(ctx, grid);
  for (std::size_t i = 0; i < finite.size(); ++i) {
    Batch batch = {that_goes_on()};
    carried.begin_step(batch, static_cast<int64_t>(i));
    carried.end_step(batch, static_cast<int64_t>(i), finite[i]);
  }
  Batch batch = {that_goes_on()};
  carried.begin_step(batch, step);
  EXPECT_EQ(batch[0].documents[0].resets, !batch[0].continues);
  if (!batch[0].continues) return "afresh";
  return batch[0].ids_before.empty() ? "from the state" : "from all";
}

TEST(CarriedStates, SayWhenASequenceContinues) {
  EXPECT_EQ(start_after({}, 0), "afresh");
  EXPECT_EQ(start_after({true}, 1), "from all");
  EXPECT_EQ(start_after({true, true}, 2), "from all");
  EXPECT_EQ(start_after({false}, 1), "afresh");
  EXPECT_EQ(start_after({true, false}, 2), "from the state");
  EXPECT_EQ(start_after({true, false, true}, 3), "from all");
}

// Also where the next step leaves nothing itself.
TEST(CarriedStates, OfASkippedStepAreNotKept) {
  const auto world = make_self_communicator();
  TestContext ctx;
  const ProcessGrid grid(ctx, *world, 1, 1);
  CarriedState carried(ctx, grid);
  ScheduleShape shape;
  shape.layers.resize(1);
  shape.layers[0].border_bytes = {0, 0, 8};
  shape.micro_batches = {{{.tokens = 8,
                           .takes_state = false,
                           .takes_halo = false,
                           .detached = false}}};
  shape.keeps_borders = true;
  carried.between_runs().keep(shape, 0, [&](int64_t, LayerBorder) {
    return ctx.zeros({2}, DType::kF32);
  });
  Batch batch = {that_goes_on()};
  carried.end_step(batch, 0, /*finite=*/false);
  batch[0].hands_on = false;
  carried.end_step(batch, 1, /*finite=*/true);
  EXPECT_TRUE(carried.between_runs().entries().empty());
}

// After it sequences go on from the state of the step before, convolutions
// afresh; those that it began begin again.
TEST(CarriedStates, SkippedStepLeavesNoTrace) {
  const auto last_digest = [](bool skips, bool first, const Layout& layout) {
    uint64_t digest = 0;
    on_layout(layout, [&](TrainerRun& run, Communicator& world) {
      const int64_t before = first ? 0 : 2;
      digests_from(run, 0, before);
      if (skips) {
        Batch batch = scenario_batch(carried(), before);
        batch[0].loss_scale = 1e30;
        EXPECT_FALSE(run.trainer.step(batch, 1e-3, 1.0, before).finite);
      }
      const auto digests = digests_from(run, before + 1, before + 3);
      if (world.rank() == 0) digest = digests.back();
    });
    return digest;
  };
  for (const bool first : {true, false}) {
    const uint64_t expected = last_digest(false, first, {1, 1});
    EXPECT_EQ(last_digest(true, first, {1, 1}), expected);
    EXPECT_EQ(last_digest(true, first, {2, 2}), expected);
  }
}

// As a step that learns nothing because its rate is 0.
TEST(CarriedStates, AreHandedOnByAStepWithoutALabel) {
  const auto losses = [](bool labels, const Layout& layout) {
    std::vector<double> losses;
    on_layout(layout, [&](TrainerRun& run, Communicator& world) {
      digests_from(run, 0, 1);
      Batch batch = scenario_batch(carried(), 1);
      if (!labels) remove_labels(batch);
      run.trainer.step(batch, /*lr=*/0, 1.0, 1);
      const double next = run_step(run.trainer, carried(), 2).loss;
      if (world.rank() == 0) losses.push_back(next);
    });
    return losses;
  };
  const auto expected = losses(true, {1, 1});
  EXPECT_EQ(losses(false, {1, 1}), expected);
  EXPECT_EQ(losses(false, {3, 1}), expected);
  EXPECT_EQ(losses(false, {2, 2}), expected);
}

// A skipped step and one without a label are steps, but no updates.
TEST(Updates, GoOnFromACheckpointOnAnyLayout) {
  const TemporaryFolder folder;
  std::vector<uint64_t> expected;
  on_layout({2, 1}, [&](TrainerRun& run, Communicator& world) {
    for (const bool finite : {true, false}) {
      Batch batch = scenario_batch(carried(), 0);
      if (finite) remove_labels(batch);
      if (!finite) batch[0].loss_scale = 1e30;
      EXPECT_EQ(run.trainer.step(batch, 1e-3, 1.0, 0).finite, finite);
    }
    digests_from(run, 2, 4);
    save_after(run, world, folder.path, 4);
    const auto digests = digests_from(run, 4, 6);
    if (world.rank() == 0) expected = digests;
  });
  const CheckpointReader checkpoint(checkpoint_folder(folder.path, 4));
  EXPECT_EQ(checkpoint.manifest().updates, 2);
  for (const Layout& layout : std::vector<Layout>{{1, 1}, {2, 2}}) {
    on_layout(layout, [&](TrainerRun& run, Communicator&) {
      restore(run.ctx, checkpoint, run.trainer, 2);
      EXPECT_EQ(run.trainer.optimizer().updates(), 2);
      EXPECT_EQ(digests_from(run, 4, 6), expected);
    });
  }
}

Batch one_sequence(int64_t first, int64_t tokens) {
  std::vector<int64_t> ids;
  for (int64_t t = 0; t <= tokens; ++t) {
    ids.push_back((first + t) * (first + t) % 61);
  }
  return {make_sequence(ids, 1.0 / static_cast<double>(tokens))};
}

// Weights so large that what a state has read shows.
void enlarge_weights(TrainerRun& run) {
  ModelConfig model = carried().model;
  model.initializer_range = 0.3;
  initialise(run.ctx, model, 1, run.trainer.model().weights());
}

// A state that a decoder left is what a document before would have left.
TEST(StartState, IsWhatTheTextBeforeIt) {
  const int64_t read = 40, tokens = 100;  // the mini-batch has 8
  const Batch before = one_sequence(0, read), after = one_sequence(7, tokens);
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder.path);
  const std::string file = folder.path + "/state.safetensors";
  double expected = 0;
  on_layout({1, 1}, [&](TrainerRun& run, Communicator&) {
    enlarge_weights(run);
    Batch both = before;
    both[0].targets.assign(read, kIgnoredTarget);
    both[0].ids.insert(both[0].ids.end(), after[0].ids.begin(),
                       after[0].ids.end());
    both[0].targets.insert(both[0].targets.end(), after[0].targets.begin(),
                           after[0].targets.end());
    both[0].documents.push_back({read, tokens, false});
    both[0].loss_scale = after[0].loss_scale;
    expected = run.trainer.evaluate(both);
    EXPECT_GT(std::abs(run.trainer.evaluate(after) - expected),
              1e-3 * expected);  // a state that matters
    Decoder decoder(run.ctx, run.trainer.model(), 32);
    decoder.read(before[0].ids);
    save_hidden_state(run.ctx, file, decoder.state(), carried().model);
  });
  for (const Layout& layout : std::vector<Layout>{{1, 1}, {3, 1}, {2, 2}}) {
    on_layout(layout, [&](TrainerRun& run, Communicator&) {
      enlarge_weights(run);
      start_from_state(run.ctx, file, run.trainer, 2);
      Batch batch = after;
      batch[0].continues = true;
      batch[0].documents[0].resets = false;
      batch[0].loss_scale /= 2;
      batch.push_back(batch[0]);
      EXPECT_NEAR(run.trainer.step(batch, 1e-3, 1.0, 0).loss, expected,
                  1e-5 * expected);
    });
  }
}

TEST(StartState, MustEndAMiniBatch) {
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder.path);
  const std::string file = folder.path + "/state.safetensors";
  on_layout({1, 1}, [&](TrainerRun& run, Communicator&) {
    Decoder decoder(run.ctx, run.trainer.model(), 32);
    decoder.read(one_sequence(0, 41)[0].ids);
    save_hidden_state(run.ctx, file, decoder.state(), carried().model);
    EXPECT_THAT(
        [&] { start_from_state(run.ctx, file, run.trainer, 1); },
        throws<InvalidArgument>("data.start_state: " + file +
                                ": 41 tokens read, expected a multiple of "
                                "model.mini_batch_size = 8"));
    write_safetensors(file, {});
    EXPECT_THAT([&] { start_from_state(run.ctx, file, run.trainer, 1); },
                throws<InvalidArgument>(::testing::StartsWith(
                    "data.start_state: " + file +
                    ": not a hidden-state file: no format in its metadata")));
    EXPECT_THROW(start_from_state(run.ctx, "/none", run.trainer, 1), IoError);
  });
}

}  // namespace
}  // namespace timepipe::testing
