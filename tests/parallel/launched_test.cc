#include "parallel/launched.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <string>

namespace timepipe {
namespace {

using Environment = std::map<std::string, std::string>;

// With these of the variables that launchers set, and no others.
Launched launched_with(const Environment& environment) {
  for (const char* name :
       {"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK",
        "OMPI_COMM_WORLD_LOCAL_SIZE", "PMI_SIZE", "PMI_RANK", "MPI_LOCALNRANKS",
        "SLURM_STEP_NUM_TASKS", "SLURM_STEP_TASKS_PER_NODE", "SLURM_NTASKS",
        "SLURM_TASKS_PER_NODE", "SLURM_PROCID"}) {
    unsetenv(name);
  }
  for (const auto& [name, value] : environment) {
    setenv(name.c_str(), value.c_str(), 1);
  }
  return launched();
}

TEST(Launched, WithoutALauncherAProcessIsAlone) {
  const Launched alone = launched_with({});
  EXPECT_STREQ(alone.variable, "");
  EXPECT_EQ(alone.processes, 1);
  EXPECT_EQ(alone.rank, 0);
  EXPECT_EQ(alone.on_host, 1);
  EXPECT_FALSE(alone.by_launcher());
}

TEST(Launched, ByMpirunInsideOfASlurmJob) {
  const Launched rank = launched_with({{"OMPI_COMM_WORLD_SIZE", "8"},
                                       {"OMPI_COMM_WORLD_RANK", "5"},
                                       {"OMPI_COMM_WORLD_LOCAL_SIZE", "4"},
                                       {"SLURM_STEP_NUM_TASKS", "2"},
                                       {"SLURM_NTASKS", "8"},
                                       {"SLURM_PROCID", "1"}});
  EXPECT_STREQ(rank.variable, "OMPI_COMM_WORLD_SIZE");
  EXPECT_EQ(rank.processes, 8);
  EXPECT_EQ(rank.rank, 5);
  EXPECT_EQ(rank.on_host, 4);
  EXPECT_FALSE(rank.batch_script);
  EXPECT_TRUE(rank.by_launcher());
}

TEST(Launched, BySrun) {
  const Launched rank = launched_with({{"SLURM_STEP_NUM_TASKS", "11"},
                                       {"SLURM_STEP_TASKS_PER_NODE", "4(x2),3"},
                                       {"SLURM_NTASKS", "16"},
                                       {"SLURM_PROCID", "7"}});
  EXPECT_EQ(rank.processes, 11);
  EXPECT_EQ(rank.rank, 7);
  EXPECT_EQ(rank.on_host, 4);
  EXPECT_FALSE(rank.batch_script);
  EXPECT_TRUE(rank.by_launcher());
}

TEST(Launched, ABatchScriptOrAShellOfSallocIsNoRank) {
  const Launched script = launched_with({{"SLURM_NTASKS", "16"},
                                         {"SLURM_TASKS_PER_NODE", "16"},
                                         {"SLURM_PROCID", "0"}});
  EXPECT_EQ(script.processes, 16);
  EXPECT_EQ(script.on_host, 1);
  EXPECT_TRUE(script.batch_script);
  EXPECT_FALSE(script.by_launcher());
}

}  // namespace
}  // namespace timepipe
