#include "parallel/communicator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>

#include "parallel/transport.h"
#include "parallel/watchdog.h"
#include "runtime/termination.h"
#include "tests/parallel/communicator_checks.h"
#include "tests/parallel/message_checks.h"

namespace timepipe {
namespace {

using ::testing::Combine;
using ::testing::ExitedWithCode;
using ::testing::HasSubstr;
using ::testing::TestWithParam;
using ::testing::Values;
using ::testing::ValuesIn;

using testing::communicator_checks;
using testing::CommunicatorCheck;
using testing::other_ranks;
using testing::state_tag;
using testing::text_thrown;

using ThreadCase = std::tuple<int, CommunicatorCheck>;
class ThreadRanks : public TestWithParam<ThreadCase> {};

TEST_P(ThreadRanks, Check) {
  const auto& [ranks, check] = GetParam();
  run_thread_ranks(ranks, check.run);
}

INSTANTIATE_TEST_SUITE_P(Communicator, ThreadRanks,
                         Combine(Values(1, 2, 3, 4, 7),
                                 ValuesIn(communicator_checks())),
                         [](const ::testing::TestParamInfo<ThreadCase>& info) {
                           return std::string(std::get<1>(info.param).name) +
                                  "_" +
                                  std::to_string(std::get<0>(info.param)) +
                                  "_Ranks";
                         });

class SelfRank : public TestWithParam<CommunicatorCheck> {};

TEST_P(SelfRank, Check) { GetParam().run(*make_self_communicator()); }

INSTANTIATE_TEST_SUITE_P(
    Communicator, SelfRank, ValuesIn(communicator_checks()),
    [](const ::testing::TestParamInfo<CommunicatorCheck>& info) {
      return info.param.name;
    });

TEST(ThreadRanksTest, EveryRankRunsOnce) {
  std::atomic<int> sum = 0;
  run_thread_ranks(5, [&](Communicator& comm) {
    EXPECT_EQ(comm.size(), 5);
    sum += 1 << (4 * comm.rank());
  });
  EXPECT_EQ(sum, 0x11111);
  EXPECT_THROW(run_thread_ranks(0, [](Communicator&) {}), InvalidArgument);
}

// The deadline is longer than the tests' timeout: nobody waits for it.
TEST(ThreadRanksTest, AFailureEndsAllAndIsTheErrorThatIsSeen) {
  constexpr double kForever = 1e6;
  for (int failing = 0; failing < 4; ++failing) {
    const auto messages = [&](Communicator& comm) {
      std::vector<std::byte> bytes(8);
      if (comm.rank() == failing) throw std::runtime_error("disk full");
      comm.transport().irecv(bytes, failing, state_tag(0)).wait();
    };
    const auto collectives = [&](Communicator& comm) {
      if (comm.rank() == failing) throw std::runtime_error("disk full");
      comm.split(0);
    };
    const auto deeper = [&](Communicator& comm) {
      const auto group = comm.split(comm.rank() / 3);
      const std::vector<int64_t> one(group->size(), 1);
      std::vector<int64_t> out(1);
      if (comm.rank() == failing) throw std::runtime_error("disk full");
      for (const int peer : other_ranks(*group)) {
        group->transport()
            .isend(std::as_bytes(std::span(out)), peer, state_tag(0))
            .wait();
      }
      comm.split(0);
    };
    for (const std::function<void(Communicator&)>& body :
         {std::function<void(Communicator&)>(messages),
          std::function<void(Communicator&)>(collectives),
          std::function<void(Communicator&)>(deeper)}) {
      EXPECT_EQ(text_thrown<std::runtime_error>(
                    [&] { run_thread_ranks(4, body, kForever); }),
                "disk full");
    }
  }
}

TEST(ThreadRanksTest, ARankThatNeverAnswersIsNamed) {
  EXPECT_EQ(text_thrown<Blocked>([] {
              run_thread_ranks(
                  3,
                  [](Communicator& comm) {
                    std::vector<std::byte> bytes(8);
                    set_current_step(12);
                    if (comm.rank() != 1) return;
                    comm.transport().irecv(bytes, 2, state_tag(5)).wait();
                  },
                  0.1);
            }),
            "rank 1, step 12: waited 0.1 s for state of layer 2, chunk 5, "
            "micro-batch 0 from rank 2");
}

TEST(ThreadRanksTest, CollectivesThatDisagreeAreRefused) {
  EXPECT_THAT(text_thrown<InvalidArgument>([] {
                run_thread_ranks(3, [](Communicator& comm) {
                  const std::vector<int64_t> counts(3, 1 + comm.rank() / 2);
                  std::vector<std::byte> in(counts[0]), out(3 * counts[0]);
                  comm.all_gather(in, counts, out).wait();
                });
              }),
              HasSubstr("expected all_gather with equal counts"));
}

TEST(TagTest, NamesEverything) {
  const Tag tag{Border::kState, Lane::kForward, 0, 5, 2};
  EXPECT_EQ(tag.to_string(), "state of layer 2, chunk 5, micro-batch 0");
  const Tag gradient{Border::kHaloQk, Lane::kGradient, 1, 3, 4};
  EXPECT_EQ(gradient.to_string(),
            "gradient of halo_qk of layer 4, chunk 3, micro-batch 1");
}

// Complete after `polls` polls; then it may raise a signal.
// Sends the signal to this process, whose handler has a thread of its own.
[[noreturn]] void end_by(int signal) {
  kill(getpid(), signal);
  for (;;) pause();
}

class Countdown : public Request::Impl {
 public:
  explicit Countdown(int polls, int signal = 0)
      : polls_(polls), signal_(signal) {}
  bool test() override {
    if (polls_-- > 0) return false;
    if (signal_ != 0) end_by(signal_);
    return true;
  }
  int rank() const override { return 6; }
  std::string describe() const override { return "state from rank 5"; }

 private:
  int polls_, signal_;
};

TEST(RequestTest, TestIsTrueOnceComplete) {
  EXPECT_TRUE(Request().test());
  Request request(std::make_unique<Countdown>(1), 60);
  EXPECT_FALSE(request.test());
  EXPECT_TRUE(request.test());
  EXPECT_TRUE(request.test());
  request.wait();
}

TEST(RequestTest, WaitPollsUntilComplete) {
  Request request(std::make_unique<Countdown>(100), 60);
  request.wait();
  EXPECT_TRUE(request.test());
}

class TerminationTest : public ::testing::Test {
 protected:
  void SetUp() override {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    set_activity("testing");
  }
};

TEST_F(TerminationTest, TellsTheActivity) {
  EXPECT_EXIT(
      {
        set_activity("computing layer 1");
        install_termination_report(4);
        end_by(SIGTERM);
      },
      ExitedWithCode(143),
      "rank 4: SIGTERM while computing layer 1: leaves at once\n");
  EXPECT_EXIT(
      {
        install_termination_report(4);
        for (int i = 0; i < 100; ++i) set_activity("at " + std::to_string(i));
        end_by(SIGTERM);
      },
      ExitedWithCode(143), "rank 4: SIGTERM while at 99: leaves at once\n");
}

TEST_F(TerminationTest, TellsWhatItWaitsFor) {
  EXPECT_EXIT(
      {
        install_termination_report(6);
        Request(std::make_unique<Countdown>(9, SIGTERM), 60).wait();
      },
      ExitedWithCode(143),
      "rank 6: SIGTERM while waiting for state from rank 5: leaves at once\n");
}

TEST_F(TerminationTest, WaitingIsOverAfterIt) {
  EXPECT_EXIT(
      {
        install_termination_report(6);
        set_activity("computing");
        Request(std::make_unique<Countdown>(9), 60).wait();
        end_by(SIGTERM);
      },
      ExitedWithCode(143), "rank 6: SIGTERM while computing: leaves at once\n");
}

TEST_F(TerminationTest, TheFirstAsksAndTheSecondEnds) {
  for (const int first : {SIGTERM, SIGUSR1}) {
    EXPECT_EXIT(
        {
          install_termination_report(3);
          set_on_signal(OnSignal::kAsk, "saves");
          set_activity("computing");
          const bool asked_before = asked_signal() != 0;
          kill(getpid(), first);
          while (asked_signal() == 0) sched_yield();
          if (asked_before || asked_signal() != first) _exit(1);
          kill(getpid(), first);  // says nothing new
          end_by(SIGINT);
        },
        ExitedWithCode(130),
        std::string("rank 3: ") + name_of_signal(first) +
            " while computing: saves\n"
            "rank 3: SIGINT while computing: the second: leaves at once\n");
  }
}

TEST_F(TerminationTest, ThreadsThatComputeRunNoHandler) {
  EXPECT_EXIT(
      {
        install_termination_report(3);
        int blocked = 0;
        std::thread([&] {
          sigset_t mask;
          pthread_sigmask(SIG_BLOCK, nullptr, &mask);
          for (const int signal : {SIGINT, SIGTERM, SIGUSR1}) {
            blocked += sigismember(&mask, signal);
          }
        }).join();
        _exit(blocked);
      },
      ExitedWithCode(3), "^$");
}

TEST_F(TerminationTest, OnTheWayOutSignalsAreIgnored) {
  EXPECT_EXIT(
      {
        install_termination_report(3);
        set_on_signal(OnSignal::kIgnore, "");
        kill(getpid(), SIGTERM);
        _exit(7);
      },
      ExitedWithCode(7), "^$");
}

TEST_F(TerminationTest, LongTextsAreCutAndOtherThreadsIgnored) {
  EXPECT_EXIT(
      {
        install_termination_report(2);
        set_activity(std::string(10'000, 'x'));
        run_thread_ranks(2, [](Communicator&) { set_activity("a test"); });
        end_by(SIGTERM);
      },
      ExitedWithCode(143), "rank 2: SIGTERM while x{512}: leaves at once\n");
}

}  // namespace
}  // namespace timepipe
