#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "parallel/communicator.h"

namespace timepipe {

inline constexpr int kExitMistake = 1;   // of the user: one line says what
inline constexpr int kExitBlocked = 75;  // a peer is gone, or the run failed

// Connects the ranks of a job (alone without mpirun or srun), runs body on each
// and returns the exit status. argc and argv may be null. What body throws
// becomes one line on stderr and the end of all ranks.
int run_job(int* argc, char*** argv,
            const std::function<void(Communicator&)>& body);

// Whether this process shall do what `command` does alone. Of several ranks
// rank 0 does it, and says so; the others have nothing to do.
bool works_here(const std::string& command);

// The part of a job that can fail by a user's mistake: runs `prepare` on every
// rank. If it throws anywhere, all ranks end with kExitMistake, and the lowest
// that failed prints why. Messages that `prepare` sends must be complete when
// it throws. Collective.
void prepare_together(Communicator& world,
                      const std::function<void()>& prepare);

// For what can fail when results are there to be saved: runs `part` on every
// rank. Nothing if it threw InvalidArgument or IoError nowhere, else the text
// that this rank is to print before it ends: that of the lowest rank that
// failed, on all others "". Collective.
std::optional<std::string> failure_together(Communicator& world,
                                            const std::function<void()>& part);

// Whether any rank says so. Collective.
bool on_any_rank(Communicator& world, bool own);

// Whether no lower rank runs on this rank's host. Collective.
bool is_first_of_host(Communicator& world);

// Throws InvalidArgument on every rank if `value`, such as a hash, isn't the
// same on all; `what` names it. Collective.
void require_same_on_all_ranks(Communicator& world, const std::string& what,
                               uint64_t value);

}  // namespace timepipe
