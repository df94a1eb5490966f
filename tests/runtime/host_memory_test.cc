#include "runtime/host_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "runtime/error.h"
#include "tests/support/temporary_file.h"
#include "tests/support/throws.h"

namespace timepipe {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using testing::throws;

// A made-up host: files of /proc and /sys.
class HostMemory : public ::testing::Test {
 protected:
  void SetUp() override {
    put("/proc/meminfo", "MemTotal: 2000 kB\nMemAvailable: 1000 kB\n");
    mount("/ /sys/fs/cgroup rw - cgroup2 cgroup rw");
  }
  ~HostMemory() override {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }
  void put(const std::string& path, const std::string& text) {
    const std::filesystem::path full = root_ + path;
    std::filesystem::create_directories(full.parent_path());
    std::ofstream(full) << text;
  }

  // Fields 4 and on of a line of mountinfo.
  void mount(const std::string& fields) {
    put("/proc/self/mountinfo", "30 24 0:26 " + fields + "\n");
  }

  std::string root_ = testing::TemporaryFile::unused_path().string();
};

TEST_F(HostMemory, WithoutGroupsIsWhatTheKernelSays) {
  const AvailableMemory memory = available_memory(root_);
  EXPECT_EQ(memory.bytes, 1000 * 1024);
  EXPECT_THAT(memory.limit, EndsWith("/proc/meminfo"));
}

TEST_F(HostMemory, AGroupAboveOursCounts) {
  put("/proc/self/cgroup", "0::/slice/job/step\n");
  put("/sys/fs/cgroup/slice/job/step/memory.max", "max\n");
  put("/sys/fs/cgroup/slice/job/step/memory.current", "100\n");
  put("/sys/fs/cgroup/slice/job/memory.max", "500000\n");
  put("/sys/fs/cgroup/slice/job/memory.current", "300000\n");
  put("/sys/fs/cgroup/slice/job/memory.stat",
      "anon 200000\ninactive_file 40000\nactive_file 5000\n");
  const AvailableMemory memory = available_memory(root_);
  EXPECT_EQ(memory.bytes, 245000);
  EXPECT_THAT(memory.limit, EndsWith("/sys/fs/cgroup/slice/job/memory.max"));
}

TEST_F(HostMemory, LimitsAreOfTheHostAndOfEachGroupOnce) {
  put("/proc/self/mountinfo",
      "30 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n"
      "31 24 0:26 / /sys/fs/cgroup/. rw - cgroup2 cgroup rw\n");
  put("/proc/self/cgroup", "0::/job/step\n");
  for (const std::string group : {"/job", "/job/step"}) {
    put("/sys/fs/cgroup" + group + "/memory.max", "5000\n");
    put("/sys/fs/cgroup" + group + "/memory.current", "1000\n");
  }
  const std::vector<AvailableMemory> limits = memory_limits(root_);
  ASSERT_EQ(limits.size(), 3);
  EXPECT_EQ(limits[0].bytes, 1000 * 1024);
  EXPECT_EQ(limits[0].group, 0);
  EXPECT_EQ(limits[1].bytes, 4000);
  EXPECT_THAT(limits[1].limit, EndsWith("/job/step/memory.max"));
  EXPECT_NE(limits[1].group, limits[2].group);
}

TEST_F(HostMemory, VersionOneAndPathsOfTheHostInAContainer) {
  put("/proc/self/cgroup", "4:cpu:/a\n3:memory:/docker/0123\n0::/\n");
  mount("/docker/0123 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory");
  put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "600000\n");
  put("/sys/fs/cgroup/memory/memory.usage_in_bytes", "500000\n");
  put("/sys/fs/cgroup/memory/memory.stat", "total_inactive_file 1000\n");
  EXPECT_EQ(available_memory(root_).bytes, 101000);
}

TEST_F(HostMemory, GroupsAreWhereverTheyAreMounted) {
  mount("/ /cg/unified rw - cgroup2 cgroup2 rw");
  put("/proc/self/cgroup", "0::/job\n");
  put("/cg/unified/job/memory.max", "5000\n");
  put("/cg/unified/job/memory.current", "1000\n");
  EXPECT_EQ(available_memory(root_).bytes, 4000);
}

TEST_F(HostMemory, AGroupThatIsOverItsLimitLeavesNothing) {
  put("/proc/self/cgroup", "0::/\n");
  put("/sys/fs/cgroup/memory.max", "1000\n");
  put("/sys/fs/cgroup/memory.current", "3000\n");
  EXPECT_EQ(available_memory(root_).bytes, 0);
}

TEST_F(HostMemory, WithoutMemAvailableNamesTheFile) {
  put("/proc/meminfo", "MemTotal: 2000 kB\n");
  EXPECT_THAT([&] { available_memory(root_); },
              throws<IoError>(HasSubstr("/proc/meminfo")));
}

TEST(HostMemoryHere, IsSomething) { EXPECT_GT(available_memory().bytes, 0); }

}  // namespace
}  // namespace timepipe
