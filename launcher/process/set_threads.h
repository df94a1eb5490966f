#pragma once

#include <string>

#include "parallel/communicator.h"

namespace timepipe {

// What is said of the threads of a job.
struct JobThreads {
  std::string line;     // "1 per rank (2 cores shared by 4 ranks)"
  std::string warning;  // of the lowest rank that has one; empty: none
};

// Sets the number of threads that the calling thread computes with, as
// choose_threads() says, on every rank of a job. Ends all ranks with one line
// if OMP_NUM_THREADS is no number. Collective.
JobThreads set_threads(Communicator& world);

// The same for a process that is no rank. Throws InvalidArgument.
void set_threads_alone();

// Threads that wait for each other in a loop, as long as GNU's OpenMP library
// has them by default, make ranks that share their cores 20 to 100 times
// slower, and a run beside other programs several times. The library reads how
// to wait from the environment when it is loaded: if this process will have
// several threads and the environment doesn't say, starts this program again
// with words that do: OMP_WAIT_POLICY=passive where threads outnumber cores,
// else as many turns of the loop as take about the time to fall asleep and
// wake. First in main().
void restart_with_wait_policy(char** argv);

}  // namespace timepipe
