// Chooses the number of threads of a rank, and words what is said of it.

#include "launcher/process/threads.h"

#include <algorithm>
#include <iterator>
#include <set>

namespace timepipe {
namespace {

using Ranks = std::vector<const RankCores*>;

std::string counted(int64_t count, const std::string& thing) {
  return std::to_string(count) + " " + thing + (count == 1 ? "" : "s");
}

// 2500 thousandths: "2.5 cores".
std::string cores_text(int64_t thousandths) {
  if (thousandths % 1000 == 0) return counted(thousandths / 1000, "core");
  std::string text = std::to_string(thousandths / 1000) + "." +
                     std::to_string(1000 + thousandths % 1000).substr(1);
  return text.substr(0, text.find_last_not_of('0') + 1) + " cores";
}

std::string shared_text(int64_t ranks) {
  return ranks == 1 ? "" : " shared by " + std::to_string(ranks) + " ranks";
}

// The ranks of a host that have one of these cores, too.
Ranks sharing(const Ranks& host, const std::vector<int64_t>& cores) {
  Ranks ranks;
  std::ranges::copy_if(host, std::back_inserter(ranks), [&](auto* rank) {
    return std::ranges::find_first_of(rank->cores.cores, cores) !=
           rank->cores.cores.end();
  });
  return ranks;
}

// Those that a control group bounds, too.
Ranks in_group(const Ranks& host, uint64_t group) {
  Ranks ranks;
  std::ranges::copy_if(host, std::back_inserter(ranks), [&](auto* rank) {
    return std::ranges::find(rank->cores.limits, group, &Cores::Limit::group) !=
           rank->cores.limits.end();
  });
  return ranks;
}

// The threads of a rank and why; no warning yet.
ThreadChoice threads_of(const RankCores& rank, const Ranks& host) {
  if (rank.asked > 0) return {rank.asked, "OMP_NUM_THREADS", ""};
  const Cores& own = rank.cores;
  const int64_t ranks = std::ssize(sharing(host, own.cores));
  const int64_t cores = std::ssize(own.cores);
  ThreadChoice choice{cores / ranks,
                      (cores < own.of_host ? std::to_string(cores) + " of " +
                                                 counted(own.of_host, "core")
                                           : counted(cores, "core")) +
                          shared_text(ranks),
                      ""};
  for (const Cores::Limit& limit : own.limits) {
    const int64_t members = std::ssize(in_group(host, limit.group));
    const int64_t most = limit.thousandths / (1000 * members);
    if (most >= choice.threads) continue;
    choice.threads = most;
    choice.reason = "the control group's limit of " +
                    cores_text(limit.thousandths) + shared_text(members);
  }
  choice.threads = std::max<int64_t>(choice.threads, 1);
  return choice;
}

int64_t threads_of_all(const Ranks& ranks, const Ranks& host) {
  int64_t threads = 0;
  for (const RankCores* rank : ranks) {
    threads += threads_of(*rank, host).threads;
  }
  return threads;
}

int64_t cores_of_all(const Ranks& ranks) {
  std::set<int64_t> cores;
  for (const RankCores* rank : ranks) {
    cores.insert(rank->cores.cores.begin(), rank->cores.cores.end());
  }
  return std::ssize(cores);
}

// What of the host's cores a process could be given at best.
int64_t usable_cores(const Cores& own) {
  int64_t cores = own.of_host;
  for (const Cores::Limit& limit : own.limits) {
    cores = std::min(cores, limit.thousandths / 1000);
  }
  return cores;
}

std::string warning_of(const RankCores& rank, const Ranks& host) {
  const Cores& own = rank.cores;
  const int64_t cores = std::ssize(own.cores);
  const int64_t threads = threads_of(rank, host).threads;
  if (threads > cores && cores < own.of_host) {
    return counted(threads, "thread") + " bound to " + counted(cores, "core") +
           " of " + std::to_string(own.of_host) +
           ": try mpirun --bind-to none, or --map-by slot:PE=" +
           std::to_string(threads);
  }
  const Ranks ranks = sharing(host, own.cores);
  const auto work = [&](const Ranks& ranks) {
    return counted(threads_of_all(ranks, host), "thread") + " of " +
           counted(std::ssize(ranks), "rank");
  };
  if (threads_of_all(ranks, host) > cores_of_all(ranks)) {
    return work(ranks) + " take turns on " +
           counted(cores_of_all(ranks), "core");
  }
  for (const Cores::Limit& limit : own.limits) {
    const Ranks members = in_group(host, limit.group);
    if (1000 * threads_of_all(members, host) <= limit.thousandths) continue;
    return work(members) + " on " + cores_text(limit.thousandths) +
           ", what their control group may take";
  }
  const int64_t idle = usable_cores(own) - cores_of_all(host);
  if (cores > 1 || own.of_host == 1 || idle <= 0) return "";
  return "bound to one core, and " + std::to_string(idle) + " of " +
         std::to_string(own.of_host) +
         " cores have no rank: mpirun --bind-to none shares all of them";
}

}  // namespace

ThreadChoice choose_threads(std::span<const RankCores> ranks, int rank) {
  const RankCores& own = ranks[static_cast<std::size_t>(rank)];
  Ranks host;
  for (const RankCores& other : ranks) {
    if (other.cores.host == own.cores.host) host.push_back(&other);
  }
  ThreadChoice choice = threads_of(own, host);
  choice.warning = warning_of(own, host);
  return choice;
}

bool threads_outnumber_cores(int64_t threads, int64_t ranks_of_host,
                             const Cores& cores) {
  return threads > 1 && (threads > std::ssize(cores.cores) ||
                         threads * ranks_of_host > usable_cores(cores));
}

}  // namespace timepipe
