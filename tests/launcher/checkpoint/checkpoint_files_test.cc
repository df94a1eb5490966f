#include "launcher/checkpoint/checkpoint_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <optional>
#include <string>
#include <thread>

#include "launcher/checkpoint/best.h"
#include "runtime/error.h"
#include "runtime/files.h"
#include "tests/support/temporary_file.h"
#include "tests/support/throws.h"

namespace timepipe {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::TemporaryFile;
using testing::throws;

// A run folder that has the checkpoint of a committed run as any of its steps.
class RunFolder {
 public:
  RunFolder()
      : path_(TemporaryFile::unused_path().string()),
        manifest_(read_text(kMade + "/manifest.json")) {
    fs::create_directories(path_ + "/checkpoints");
  }
  ~RunFolder() { fs::remove_all(path_); }

  const std::string& path() const { return path_; }
  std::string folder(int64_t steps) const {
    return checkpoint_folder(path_, steps);
  }

  // As CheckpointWriter does: whole once the manifest is there, and no longer
  // once it is not.
  void add(int64_t steps, std::optional<double> held_out_loss = {}) const {
    fs::create_directories(folder(steps));
    const std::string shard = "/shard-00000-of-00001.safetensors";
    fs::copy_file(kMade + shard, folder(steps) + shard);
    std::string text = manifest_;
    const std::string of_three = "\"steps\": 3";
    text.replace(text.find(of_three), of_three.size(),
                 "\"steps\": " + std::to_string(steps));
    write_file(folder(steps) + "/manifest.json", text);
    if (held_out_loss) note_held_out_loss(folder(steps), *held_out_loss);
  }
  void remove(int64_t steps) const {
    fs::remove(folder(steps) + "/manifest.json");
    fs::remove_all(folder(steps));
  }

 private:
  const std::string kMade =
      std::string(TIMEPIPE_EARLIER_RUNS) + "/joined/checkpoints/step-000003";
  std::string path_, manifest_;
};

TEST(BestCheckpoints, HaveTheLowestLossesTheEarlierOfEqualOnesFirst) {
  const RunFolder run;
  run.add(1, 0.5);
  run.add(2, 0.25);
  run.add(3);
  run.add(4, 0.125);
  run.add(5, 0.25);
  run.add(6, 0.0625);
  write_file(run.folder(6) + "/manifest.json", "broken");
  const auto all = list_checkpoints(run.path());
  EXPECT_THAT(best_of(all, 0), ElementsAre());
  EXPECT_THAT(best_of(all, 1), ElementsAre(4));
  EXPECT_THAT(best_of(all, 3), ElementsAre(4, 2, 5));
  EXPECT_THAT(best_of(all, 9), ElementsAre(4, 2, 5, 1));
  EXPECT_FALSE(is_among_best(run.path(), 7, 0.0625, 0));
  EXPECT_TRUE(is_among_best(run.path(), 7, 0.0625, 1));
  EXPECT_FALSE(is_among_best(run.path(), 7, 0.125, 1));
  EXPECT_TRUE(is_among_best(run.path(), 7, 0.125, 2));
  EXPECT_FALSE(is_among_best(run.path(), 7, 0.25, 3));
  EXPECT_TRUE(is_among_best(run.path(), 4, 0.25, 2));  // later ones don't count
}

TEST(BestCheckpoints, ALossThatIsNotedChangesNothingElse) {
  const RunFolder run;
  run.add(3);
  const CheckpointReader before(run.folder(3));
  note_held_out_loss(run.folder(3), 2.1);
  note_held_out_loss(run.folder(3), 1.0 / 3);
  CheckpointReader after(run.folder(3));
  after.verify();
  EXPECT_EQ(after.manifest().held_out_loss, 1.0 / 3);
  Manifest manifest = after.manifest();
  manifest.held_out_loss.reset();
  EXPECT_EQ(to_json(manifest), to_json(before.manifest()));
}

std::string unexpected(const std::string& line) {
  ADD_FAILURE() << line;
  return line;
}

TEST(OpenCheckpoint, FindsOneWhileARunMakesNewOnesAndRemovesOldOnes) {
  constexpr int64_t kSteps = 60;
  const RunFolder run;
  run.add(3);
  std::jthread running([&run] {
    for (int64_t steps = 4; steps <= kSteps; ++steps) {
      run.add(steps);
      run.remove(steps - 1);
    }
  });
  int64_t last = 0;
  while (last < kSteps) {
    EXPECT_FALSE(list_checkpoints(run.path()).empty());
    const CheckpointReader reader = open_checkpoint(run.path(), unexpected);
    EXPECT_GE(reader.manifest().steps, last);
    last = reader.manifest().steps;
  }
}

TEST(OpenCheckpoint, PassesOverTheBrokenOnesAndTheRenamedOnes) {
  const RunFolder run;
  for (const int64_t steps : {5, 6}) run.add(steps);
  fs::resize_file(run.folder(6) + "/shard-00000-of-00001.safetensors", 1000);
  fs::rename(run.folder(5), run.folder(7));
  run.add(4);
  std::vector<std::string> told;
  const auto say = [&](const std::string& line) { told.push_back(line); };
  EXPECT_EQ(open_checkpoint(run.path(), say).manifest().steps, 4);
  ASSERT_EQ(told.size(), 2u);
  EXPECT_THAT(told[0], HasSubstr("manifest.json: steps: 5, expected 7, "));
  EXPECT_THAT(told[1], HasSubstr("1000 bytes, expected "));
  run.remove(4);
  EXPECT_THAT([&] { open_checkpoint(run.path(), say); },
              throws<InvalidArgument>(HasSubstr(run.path())));
  fs::rename(run.folder(7), run.path() + "/kept");  // any other name will do
  EXPECT_EQ(open_checkpoint(run.path() + "/kept/", say).manifest().steps, 5);
}

}  // namespace
}  // namespace timepipe
