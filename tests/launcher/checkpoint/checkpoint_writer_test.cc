#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <filesystem>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>

#include "launcher/checkpoint/checkpoint.h"
#include "models/build.h"
#include "parallel/transport.h"
#include "tests/launcher/trainer/training_scenario.h"
#include "tests/support/temporary_file.h"
#include "tests/support/test_device.h"
#include "tests/support/threads.h"

// Saves that an error interrupts, and a disk that is full or doesn't answer.

namespace {

std::atomic<bool> disk_answers = true;
constexpr int kEmpty = 1000;
std::atomic<int> files_that_fit = kEmpty;

}  // namespace

// The system's, as this program sees it.
extern "C" int fsync(int fd) {
  disk_answers.wait(false);
  struct stat status = {};
  if (::fstat(fd, &status) == 0 && S_ISREG(status.st_mode) &&
      files_that_fit-- <= 0) {
    errno = ENOSPC;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_fsync, fd));
}

namespace timepipe::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

class Interrupted : public ::testing::Test {
 protected:
  Interrupted() {
    config_.model = linear_mamba().model;
    config_.run_dir = folder_;
    config_.data.batch = 2;
  }
  ~Interrupted() override { fs::remove_all(folder_); }

  // Calls use(world, writer, digest) on every rank, the model being new.
  void with_writer(int ranks,
                   const std::function<void(Communicator&, CheckpointWriter&,
                                            uint64_t)>& use) {
    run_thread_ranks(ranks, [&](Communicator& world) {
      const Threads one_thread(1);
      TestContext ctx;
      Trainer trainer = make_trainer(linear_mamba(), {ranks, 1, 0}, ctx, world);
      initialise(ctx, linear_mamba().model, 1, trainer.model().weights());
      CheckpointWriter writer(ctx, world, config_, trainer, {}, "");
      use(world, writer, trainer.optimizer().digest());
    });
  }

  // A save after 5 steps, and an error of the step after it on the last rank,
  // for which the others wait. Returns its text.
  std::string save_and_fail(int ranks) {
    try {
      with_writer(ranks, [&](Communicator& world, CheckpointWriter& writer,
                             uint64_t digest) {
        writer.save(5, 0, digest);
        if (world.rank() + 1 == ranks) throw std::runtime_error("step 6 fails");
        std::byte nothing;
        world.transport().irecv({&nothing, 1}, ranks - 1, {}).wait();
      });
    } catch (const std::runtime_error& error) {
      return error.what();
    }
    return "";
  }

  const std::string folder_ = TemporaryFile::unused_path().string();
  RunConfig config_;
};

TEST_F(Interrupted, AWholeSaveIsCommittedWhenTheStepAfterItThrows) {
  for (const int ranks : {1, 2, 3}) {
    fs::remove_all(folder_);
    EXPECT_EQ(save_and_fail(ranks), "step 6 fails");
    const auto saved = list_checkpoints(folder_);
    ASSERT_EQ(saved.size(), 1U) << ranks << " ranks";
    EXPECT_EQ(saved[0].first, 5);
    const CheckpointReader reader(saved[0].second);
    reader.verify();
    EXPECT_EQ(std::ssize(reader.manifest().shards), ranks);
    int files = 0;
    for (const auto& entry : fs::directory_iterator(saved[0].second)) {
      static_cast<void>(entry);
      ++files;
    }
    EXPECT_EQ(files, ranks + 1) << "shards and manifest";
  }
}

TEST_F(Interrupted, AnErrorIsSeenThoughTheDiskDoesNotAnswer) {
  config_.parallel.timeout_seconds = 0.1;
  disk_answers = false;
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(save_and_fail(1), "step 6 fails");
  EXPECT_THAT(
      ::testing::internal::GetCapturedStderr(),
      AllOf(HasSubstr("rank 0: waits up to 0.1 s for the checkpoint of step 5"),
            HasSubstr("rank 0: the checkpoint of step 5 isn't saved: " +
                      checkpoint_folder(folder_, 5))));
  EXPECT_TRUE(list_checkpoints(folder_).empty());
  disk_answers = true;
  disk_answers.notify_all();
  const std::string shard =
      checkpoint_folder(folder_, 5) + "/shard-00000-of-00001.safetensors";
  while (!fs::exists(shard)) std::this_thread::yield();  // it goes on alone
}

using Outcome = CheckpointWriter::Outcome;

TEST_F(Interrupted, ASaveThatFailsAtAnyFileLeavesNothing) {
  with_writer(1, [&](Communicator&, CheckpointWriter& writer, uint64_t digest) {
    writer.save(4, 0, digest);
    EXPECT_EQ(writer.settle(/*wait=*/true), Outcome::kCommitted);
    for (const int fit : {0, 1}) {  // not the shard; not the manifest
      files_that_fit = fit;
      ::testing::internal::CaptureStderr();
      writer.save(5, 0, digest);
      EXPECT_EQ(writer.settle(/*wait=*/true), Outcome::kFailed);
      EXPECT_THAT(::testing::internal::GetCapturedStderr(),
                  AllOf(HasSubstr("rank 0: checkpoint not saved: "),
                        HasSubstr("No space left on device")));
      EXPECT_FALSE(fs::exists(checkpoint_folder(folder_, 5))) << fit;
      EXPECT_TRUE(is_checkpoint(checkpoint_folder(folder_, 4))) << fit;
    }
    files_that_fit = kEmpty;
    writer.save(6, 0, digest);
    EXPECT_EQ(writer.settle(/*wait=*/true), Outcome::kCommitted);
  });
  EXPECT_EQ(list_checkpoints(folder_).size(), 2U);
}

TEST_F(Interrupted, WhatAKilledRunLeftGoesBeforeTheNextSaveIsWritten) {
  with_writer(1, [&](Communicator&, CheckpointWriter& writer, uint64_t digest) {
    writer.save(4, 0, digest);
    EXPECT_EQ(writer.settle(/*wait=*/true), Outcome::kCommitted);
    for (const int64_t steps : {3, 5, 8}) {
      fs::create_directories(checkpoint_folder(folder_, steps) + "/shard");
    }
    disk_answers = false;
    writer.save(5, 0, digest);
    EXPECT_FALSE(fs::exists(checkpoint_folder(folder_, 3)));
    EXPECT_FALSE(fs::exists(checkpoint_folder(folder_, 5) + "/shard"));
    EXPECT_FALSE(fs::exists(checkpoint_folder(folder_, 8)));
    EXPECT_TRUE(is_checkpoint(checkpoint_folder(folder_, 4)));
    disk_answers = true;
    disk_answers.notify_all();
    EXPECT_EQ(writer.settle(/*wait=*/true), Outcome::kCommitted);
  });
  EXPECT_EQ(list_checkpoints(folder_).size(), 2U);
}

}  // namespace
}  // namespace timepipe::testing
