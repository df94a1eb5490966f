// Answers signals with a line of what this rank was doing.

#include "runtime/termination.h"

#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <thread>

namespace timepipe {
namespace {

struct ThisThread {
  std::string activity = "starting";
  bool reports = false;  // its activity is what signals print
};
thread_local ThisThread this_thread;

struct NamedSignal {
  int number;
  const char* name;
};
constexpr std::array<NamedSignal, 6> kSignals = {{{SIGINT, "SIGINT"},
                                                  {SIGTERM, "SIGTERM"},
                                                  {SIGHUP, "SIGHUP"},
                                                  {SIGUSR1, "SIGUSR1"},
                                                  {SIGUSR2, "SIGUSR2"},
                                                  {SIGXCPU, "SIGXCPU"}}};

// What the handler prints is made beforehand. It may run on another thread than
// the writer, which would have to come round the ring to disturb it.
struct Text {
  std::array<char, 512> bytes;
  std::size_t length = 0;
};

class Ring {
 public:
  const Text& current() const {
    return texts_[current_.load(std::memory_order_acquire)];
  }
  void publish(const std::string& text) {
    const int next = (current_.load(std::memory_order_relaxed) + 1) % kTexts;
    Text& t = texts_[next];
    t.length = std::min(text.size(), t.bytes.size());
    std::copy_n(text.data(), t.length, t.bytes.data());
    current_.store(next, std::memory_order_release);
  }

 private:
  static constexpr int kTexts = 8;
  std::array<Text, kTexts> texts_;
  std::atomic<int> current_ = 0;
};

Ring doing, consequences;  // "computing step 3"; "leaves at once"
std::atomic<int> reporting_rank = 0;
std::atomic<OnSignal> on_signal = OnSignal::kLeave;
std::atomic<int> asked = 0;
std::atomic<double> asked_at = 0;  // seconds of the clock below

static_assert(std::atomic<int>::is_always_lock_free &&
              std::atomic<double>::is_always_lock_free &&
              std::atomic<OnSignal>::is_always_lock_free);

// A line in the handler's own memory: nothing here may allocate.
class Line {
 public:
  Line& add(const char* text, std::size_t length) {
    length = std::min(length, bytes_.size() - length_ - 1);
    std::memcpy(bytes_.data() + length_, text, length);
    length_ += length;
    return *this;
  }
  Line& add(const char* text) { return add(text, std::strlen(text)); }
  Line& add(const Text& text) { return add(text.bytes.data(), text.length); }
  Line& add(int number) {  // >= 0
    std::array<char, 12> digits;
    std::size_t begin = digits.size();
    do {
      digits[--begin] = static_cast<char>('0' + number % 10);
      number /= 10;
    } while (number > 0);
    return add(digits.data() + begin, digits.size() - begin);
  }
  // In one write, so that the lines of several ranks don't mix.
  bool print() {
    bytes_[length_] = '\n';
    return write(STDERR_FILENO, bytes_.data(), length_ + 1) > 0;
  }

 private:
  std::array<char, 1200> bytes_;
  std::size_t length_ = 0;
};

double now() {
  timespec time = {};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) +
         1e-9 * static_cast<double>(time.tv_nsec);
}

// Seen: once a rank of a host has ended by SIGTERM, Open MPI 4.1 may kill the
// others at once (SIGCHLD seems to end its sleep before SIGKILL): so linger.
extern "C" void handle_signal(int signal) {
  constexpr timespec kLetOthersWrite = {.tv_sec = 0, .tv_nsec = 300'000'000};
  const OnSignal what = on_signal.load();
  if (what == OnSignal::kIgnore) return;
  int before = 0;
  const bool asks =
      what == OnSignal::kAsk && asked.compare_exchange_strong(before, signal);
  if (asks) {
    asked_at = now();
  } else if (what == OnSignal::kAsk &&
             repeats_request(before, signal, now() - asked_at)) {
    return;
  }
  Line line;
  line.add("rank ").add(reporting_rank.load()).add(": ");
  line.add(name_of_signal(signal)).add(" while ").add(doing.current());
  line.add(": ");
  if (what == OnSignal::kAsk && !asks) {
    line.add("the second: leaves at once");
  } else {
    line.add(consequences.current());
  }
  const bool printed = line.print();
  if (asks) return;
  if (printed) nanosleep(&kLetOthersWrite, nullptr);
  _exit(128 + signal);
}

}  // namespace

void set_activity(const std::string& text) {
  this_thread.activity = text;
  if (this_thread.reports) doing.publish(text);
}

std::string activity() { return this_thread.activity; }

namespace {

// Whether it stays ignored, as nohup has SIGHUP. Not SIGINT, which a shell has
// its background jobs ignore: who sends it to one means it.
bool is_ignored(int signal) {
  if (signal == SIGINT || signal == SIGTERM || signal == SIGUSR1) return false;
  struct sigaction action = {};
  sigaction(signal, nullptr, &action);
  return action.sa_handler == SIG_IGN;
}

sigset_t signals_to_answer() {
  sigset_t set;
  sigemptyset(&set);
  for (const NamedSignal& signal : kSignals) {
    if (!is_ignored(signal.number)) sigaddset(&set, signal.number);
  }
  return set;
}

// A thread that only waits for signals, so that none that computes runs
// handlers: the kernels that oneDNN generates keep their data where the stack
// pointer points to, and a handler's frame there destroys it (seen: the heap,
// within seconds of a handler called 1000 times per second). Threads of MPI
// don't block signals: one of them may still run the handler.
void give_signals_their_own_thread(const sigset_t& signals) {
  static const bool given = [&] {
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);  // later threads inherit it
    std::thread([signals] {
      for (int signal = 0;;) {
        if (sigwait(&signals, &signal) == 0) handle_signal(signal);
      }
    }).detach();
    return true;
  }();
  static_cast<void>(given);
}

}  // namespace

void install_termination_report(int rank) {
  reporting_rank = rank;
  this_thread.reports = true;
  doing.publish(this_thread.activity);
  set_on_signal(OnSignal::kLeave, "leaves at once");
  const sigset_t signals = signals_to_answer();
  struct sigaction action = {};
  action.sa_handler = handle_signal;
  action.sa_flags = SA_RESTART;  // files under way don't notice
  action.sa_mask = signals;
  for (const NamedSignal& signal : kSignals) {
    if (sigismember(&signals, signal.number) == 1) {
      sigaction(signal.number, &action, nullptr);
    }
  }
  give_signals_their_own_thread(signals);
}

void set_on_signal(OnSignal what, const std::string& consequence) {
  consequences.publish(consequence);
  if (what == OnSignal::kAsk) asked = 0;
  on_signal = what;
}

int asked_signal() { return asked; }

const char* name_of_signal(int signal) {
  for (const NamedSignal& known : kSignals) {
    if (known.number == signal) return known.name;
  }
  return "a signal";
}

}  // namespace timepipe
