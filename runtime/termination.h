#pragma once

#include <csignal>
#include <string>

namespace timepipe {

// What this rank is doing, for the one line that it prints when a signal comes
// or a wait gives up. Of the calling thread.
void set_activity(const std::string& text);
std::string activity();

// What SIGINT, SIGTERM, SIGUSR1, and unless they were ignored when the program
// started (as nohup has SIGHUP) SIGHUP, SIGUSR2 and SIGXCPU do; each also
// prints a line of stderr with what this rank was doing.
enum class OnSignal {
  kLeave,   // exit 0.3 s later with status 128 + signal
  kAsk,     // the first one asks, see asked_signal(); another one, or the same
            // one later (repeats_request), as kLeave
  kIgnore,  // nothing, without a line: this rank is on its way out
};

// Installs the handlers, with kLeave, on a thread of its own: the calling
// thread and those that it starts later block these signals. Before any thread
// that computes is started. The activity that it prints is the calling
// thread's; set_activity of other threads is not shown.
void install_termination_report(int rank);
// `consequence` ends the line: "saves at the end of this step and leaves".
void set_on_signal(OnSignal what, const std::string& consequence);

// The signal that asked this rank to come to an end since kAsk was set; 0 if
// none did.
int asked_signal();
// "SIGINT", "SIGTERM", ...
const char* name_of_signal(int signal);

// Whether a signal only says again what one of so many seconds before asked
// for: batch systems and mpirun both send it, each to every rank, and the
// kernel sends SIGXCPU again for every second of CPU time above the soft limit.
constexpr bool repeats_request(int asked, int signal, double seconds_later) {
  return asked == signal && (seconds_later < 5 || signal == SIGXCPU);
}

}  // namespace timepipe
