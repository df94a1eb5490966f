#include "launcher/process/cores.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>

#include <filesystem>
#include <fstream>
#include <numeric>
#include <string>
#include <vector>

#include "tests/support/temporary_file.h"

namespace timepipe {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

std::vector<int64_t> cpus_below(int64_t end) {
  std::vector<int64_t> cpus(static_cast<std::size_t>(end));
  std::iota(cpus.begin(), cpus.end(), 0);
  return cpus;
}

// A folder with /proc and /sys of a made-up machine.
class CoresOf : public ::testing::Test {
 protected:
  ~CoresOf() override { std::filesystem::remove_all(root_); }

  void file(const std::string& path, const std::string& text) {
    const std::string whole = root_ + path;
    std::filesystem::create_directories(
        std::filesystem::path(whole).parent_path());
    std::ofstream(whole) << text << "\n";
  }
  void siblings(int64_t cpu, const std::string& list) {
    file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) +
             "/topology/thread_siblings_list",
         list);
  }
  Cores read(const std::vector<int64_t>& cpus) {
    return read_cores(cpus, root_);
  }

  // Cores that the limits of the groups allow, the innermost first.
  std::vector<int64_t> limits() {
    std::vector<int64_t> limits;
    for (const auto& limit : read({0}).limits) {
      limits.push_back(limit.thousandths);
    }
    return limits;
  }

  const std::string root_ = testing::TemporaryFile::unused_path().string();
};

TEST_F(CoresOf, SiblingsCountOnce) {
  file("/sys/devices/system/cpu/online", "0-7");
  for (int64_t cpu = 0; cpu < 8; ++cpu) {
    siblings(cpu, std::to_string(cpu % 4) + "," + std::to_string(cpu % 4 + 4));
  }
  EXPECT_THAT(read(cpus_below(8)).cores, ElementsAre(0, 1, 2, 3));
  EXPECT_EQ(read(cpus_below(8)).of_host, 4);
  EXPECT_THAT(read({1, 5}).cores, ElementsAre(1));
  // Bound to the other half of the same core: the same core.
  EXPECT_THAT(read({6}).cores, ElementsAre(2));
  EXPECT_EQ(read({6}).of_host, 4);
}

TEST_F(CoresOf, NeighboursMayBeSiblings) {
  siblings(1022, "1022-1023");
  siblings(1023, "1022-1023");
  EXPECT_THAT(read({1022, 1023, 1500}).cores, ElementsAre(1022, 1500));
}

TEST_F(CoresOf, WithoutSysEveryCpuIsACore) {
  const Cores cores = read({0, 3, 4096});
  EXPECT_THAT(cores.cores, ElementsAre(0, 3, 4096));
  EXPECT_EQ(cores.of_host, 3);
  EXPECT_THAT(cores.limits, IsEmpty());
}

TEST_F(CoresOf, LimitsOfVersionTwoAreThoseOfTheGroupAndOfAllAbove) {
  file("/proc/self/cgroup", "0::/user.slice/job 7/step");
  file("/proc/self/mountinfo",
       "24 1 0:22 / /sys rw - sysfs sysfs rw\n"
       "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup rw");
  const std::string mount = "/sys/fs/cgroup";
  file(mount + "/user.slice/job 7/step/cpu.max", "max 100000");
  file(mount + "/user.slice/job 7/cpu.max", "250000 100000");
  file(mount + "/user.slice/cpu.max", "400000 50000");
  EXPECT_THAT(limits(), ElementsAre(2500, 8000));
  const Cores cores = read({0});
  ASSERT_THAT(cores.limits, SizeIs(2));
  EXPECT_NE(cores.limits[0].group, cores.limits[1].group);
  EXPECT_EQ(cores.limits[0].group, read({0}).limits[0].group);
}

TEST_F(CoresOf, InAContainerTheMountIsItsOwnGroup) {
  file("/proc/self/mountinfo",
       "30 24 0:26 /docker/ab /sys/fs/cgroup ro - cgroup2 cgroup rw");
  file("/sys/fs/cgroup/cpu.max", "50000 100000");
  file("/sys/fs/cgroup/inner/cpu.max", "25000 100000");
  file("/proc/self/cgroup", "0::/docker/ab");
  EXPECT_THAT(limits(), ElementsAre(500));
  file("/proc/self/cgroup", "0::/docker/ab/inner");
  EXPECT_THAT(limits(), ElementsAre(250, 500));
  file("/proc/self/cgroup", "0::/../../elsewhere");
  EXPECT_THAT(limits(), ElementsAre(500));
}

TEST_F(CoresOf, LimitsOfVersionOne) {
  file("/proc/self/cgroup",
       "9:name=systemd:/x\n4:cpu,cpuacct:/a/b\n3:cpuset:/c\n0::/");
  file("/proc/self/mountinfo",
       "31 23 0:28 / /cg rw - tmpfs tmpfs rw\n"
       "32 31 0:29 / /cg/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
       "34 31 0:31 / /cg/cpuset rw - cgroup cgroup rw,cpuset\n"
       "41 31 0:38 / /cg/unified rw - cgroup2 cgroup2 rw");
  file("/cg/cpu/a/b/cpu.cfs_quota_us", "-1");
  file("/cg/cpu/a/b/cpu.cfs_period_us", "100000");
  file("/cg/cpu/a/cpu.cfs_quota_us", "150000");
  file("/cg/cpu/a/cpu.cfs_period_us", "100000");
  EXPECT_THAT(limits(), ElementsAre(1500));
  // Of 16 the job's cpuset leaves 4.
  file("/sys/devices/system/cpu/online", "0-15");
  file("/cg/cpuset/c/cpuset.effective_cpus", "4-7");
  EXPECT_EQ(read({4}).of_host, 4);
}

TEST_F(CoresOf, MachinesAreToldApart) {
  file("/proc/sys/kernel/random/boot_id", "a");
  const uint64_t a = read({0}).host;
  EXPECT_EQ(a, read({1}).host);
  file("/proc/sys/kernel/random/boot_id", "b");
  EXPECT_NE(a, read({0}).host);
}

TEST(CpusOfThisProcess, AreThoseThatTheKernelNames) {
  cpu_set_t mask;
  ASSERT_EQ(sched_getaffinity(0, sizeof(mask), &mask), 0);
  const std::vector<int64_t> cpus = cpus_of_this_process();
  EXPECT_EQ(std::ssize(cpus), CPU_COUNT(&mask));
  for (const int64_t cpu : cpus) EXPECT_TRUE(CPU_ISSET(cpu, &mask)) << cpu;
}

}  // namespace
}  // namespace timepipe
