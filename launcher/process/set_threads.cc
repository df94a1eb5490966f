// Gathers the cores of all ranks, sets the number of threads and, by a new
// start, how they wait.

#include "launcher/process/set_threads.h"

#include <sys/auxv.h>
#include <unistd.h>

#ifdef _OPENMP
#include <omp.h>
#endif

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

#include "launcher/process/job.h"
#include "launcher/process/threads.h"
#include "parallel/launched.h"
#include "runtime/error.h"

namespace timepipe {
namespace {

// Empty if it isn't set.
std::string_view environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// OMP_NUM_THREADS, the first number of its list; 0: not set. Throws
// InvalidArgument.
int64_t threads_asked() {
  constexpr int64_t kMost = 4096;
  const std::string_view text = environment("OMP_NUM_THREADS");
  if (text.empty()) return 0;
  int64_t threads = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), threads);
  const bool ends = end == text.data() + text.size() || *end == ',';
  require(error == std::errc() && ends && threads >= 1 && threads <= kMost,
          "OMP_NUM_THREADS: ", text, ", expected a number from 1 to ", kMost);
  return threads;
}

// Throws InvalidArgument if OMP_NUM_THREADS is no number.
RankCores this_process() {
  return {read_cores(cpus_of_this_process()), threads_asked()};
}

void set_threads(int64_t threads) {
#ifdef _OPENMP
  omp_set_num_threads(static_cast<int>(threads));
#else
  static_cast<void>(threads);
#endif
}

// A rank's cores as numbers, for messages.
std::vector<int64_t> to_numbers(const RankCores& rank) {
  const Cores& cores = rank.cores;
  std::vector<int64_t> numbers = {
      static_cast<int64_t>(cores.host), cores.of_host, rank.asked,
      std::ssize(cores.limits), std::ssize(cores.cores)};
  for (const Cores::Limit& limit : cores.limits) {
    numbers.push_back(static_cast<int64_t>(limit.group));
    numbers.push_back(limit.thousandths);
  }
  numbers.insert(numbers.end(), cores.cores.begin(), cores.cores.end());
  return numbers;
}

// Reads one rank's; `at` moves on to the next one's.
RankCores from_numbers(const int64_t*& at) {
  RankCores rank;
  rank.cores.host = static_cast<uint64_t>(*at++);
  rank.cores.of_host = *at++;
  rank.asked = *at++;
  const int64_t limits = *at++, cores = *at++;
  for (int64_t i = 0; i < limits; ++i, at += 2) {
    rank.cores.limits.push_back({static_cast<uint64_t>(at[0]), at[1]});
  }
  rank.cores.cores.assign(at, at + cores);
  at += cores;
  return rank;
}

// Collective.
std::vector<RankCores> gather_cores(Communicator& world, const RankCores& own) {
  const std::vector<int64_t> numbers = to_numbers(own);
  const auto all = gather_values(
      world, numbers, gather_values(world, int64_t{std::ssize(numbers)}));
  std::vector<RankCores> ranks;
  for (const int64_t* at = all.data(); at != all.data() + all.size();) {
    ranks.push_back(from_numbers(at));
  }
  return ranks;
}

// The text of the lowest rank that has one. Collective.
std::string first_text(Communicator& world, const std::string& text) {
  auto lengths = gather_values(world, int64_t{std::ssize(text)});
  const auto first =
      std::ranges::find_if(lengths, [](int64_t length) { return length > 0; });
  if (first == lengths.end()) return "";
  std::fill(std::next(first), lengths.end(), 0);
  std::vector<char> own(text.begin(), text.begin() + lengths[world.rank()]);
  const auto all = gather_values(world, own, lengths);
  return {all.begin(), all.end()};
}

// What the program's name in /proc starts is another program under the loader
// (ld.so timepipe ...), and under valgrind one that it no longer sees.
bool can_restart() {
  return getauxval(AT_BASE) != 0 &&
         environment("LD_PRELOAD").find("vgpreload") == std::string_view::npos;
}

}  // namespace

JobThreads set_threads(Communicator& world) {
  RankCores own;
  prepare_together(world, [&] { own = this_process(); });
  const ThreadChoice choice =
      choose_threads(gather_cores(world, own), world.rank());
  set_threads(choice.threads);
  const auto all = gather_values(world, choice.threads);
  const auto [least, most] = std::ranges::minmax(all);
  std::string line = std::to_string(least);
  if (least != most) line += " to " + std::to_string(most);
  if (world.size() > 1) line += " per rank";
  if (least != most) line += ", rank 0: " + std::to_string(all[0]);
  return {line + " (" + choice.reason + ")", first_text(world, choice.warning)};
}

void set_threads_alone() {
  const RankCores own = this_process();
  set_threads(choose_threads({&own, 1}, 0).threads);
}

void restart_with_wait_policy(char** argv) {
#ifdef _OPENMP
  // Set after the restart, too.
  if (!environment("OMP_WAIT_POLICY").empty() ||
      !environment("GOMP_SPINCOUNT").empty()) {
    return;
  }
  const std::vector<int64_t> cpus = cpus_of_this_process();
  const RankCores own{
      .cores = read_cores(cpus),
      .asked = std::atoll(environment("OMP_NUM_THREADS").data())};
  const int64_t ranks = launched().on_host;
  int64_t threads = choose_threads({&own, 1}, 0).threads;
  if (own.asked == 0) threads = std::min(threads, own.cores.of_host / ranks);
  if (threads <= 1 || !can_restart()) return;
  if (threads_outnumber_cores(threads, ranks, own.cores)) {
    setenv("OMP_WAIT_POLICY", "passive", 1);
  } else {
    setenv("GOMP_SPINCOUNT", "1000", 1);
  }
  set_affinity_mask(cpus);  // the library may have bound this thread to one
  std::error_code error;    // by its name, which the new process has then, too
  execv(std::filesystem::read_symlink("/proc/self/exe", error).c_str(), argv);
  execv("/proc/self/exe", argv);
  // The program can't be started again: it goes on with the default way of
  // waiting, slower but right.
#else
  static_cast<void>(argv);
#endif
}

}  // namespace timepipe
