#pragma once

// The engine's state while a grid runs. For the engine's own sources: with
// ThreadSanitizer they are compiled without it, and what runs on a thread's
// stack must not allocate nor call memcpy and its like, which are seen even so.

#include <hostcuda/cp_async_queue.h>
#include <hostcuda/engine.h>
#include <hostcuda/engine_device.h>
#include <hostcuda/engine_schedule.h>
#include <hostcuda/engine_shared.h>
#include <hostcuda/fiber.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace hostcuda {

inline constexpr unsigned kWarpSize = 32;
inline constexpr unsigned kMostThreads = 1024;
inline constexpr unsigned kMostWarps = kMostThreads / kWarpSize;

// Where the source calls something.
struct Site {
  const char* file;
  int line;

  bool operator==(const Site& other) const {
    return line == other.line &&
           (file == other.file || is_same_text(file, other.file));
  }
  static bool is_same_text(const char* a, const char* b);
};

// A stack on which threads run, one after the other unless one waits.
struct Runner {
  Fiber fiber;
  Runner* next;  // Of those that are idle.
};

struct Thread : CurrentThread {
  unsigned number;           // In its block.
  Runner* runner = nullptr;  // Null: it has not begun.
  Thread* next;              // Of the list that it is in.
  CopyQueue copies;

  unsigned warp() const { return number / kWarpSize; }
  unsigned lane() const { return number % kWarpSize; }
};

// Threads, first in, first out.
struct ThreadList {
  Thread* first = nullptr;
  Thread* last = nullptr;

  bool empty() const { return first == nullptr; }
  void push(Thread* thread) {
    thread->next = nullptr;
    (first == nullptr ? first : last->next) = thread;
    last = thread;
  }
  Thread* pop() {
    Thread* const thread = first;
    first = thread->next;
    return thread;
  }
  // Moves the threads of `others`, which is not empty, to the front.
  void put_first(ThreadList& others) {
    others.last->next = first;
    if (first == nullptr) last = others.last;
    first = others.first;
    others = {};
  }
};

struct Barrier {
  Site site;
  unsigned arrived = 0;
  unsigned parity = 0;  // Of those that all threads passed.
  ThreadList waiting;
};

struct Warp;
// What the last lane to arrive does for all lanes of the mask.
using Complete = void (*)(Warp& warp, uint32_t mask);

// Lanes that do one operation together.
struct Group {
  Complete complete;
  const char* operation;
  Site site;
  uint32_t mask;
  uint32_t arrived;
  uint64_t* order;  // Ordering object.
  ThreadList waiting;
};

struct Warp {
  uint32_t gone;  // Lanes that have exited, or that the block lacks.
  unsigned num_groups;
  std::array<Group, kWarpSize> groups;  // Of different lanes.
  unsigned num_operations;              // That were begun.
  // What each lane gives to an operation, and gets.
  std::array<uint64_t, kWarpSize> value, result;
  std::array<uint8_t, kWarpSize> source;
  std::array<void*, kWarpSize> operands;
};

// Objects by which a block's contexts are ordered.
struct OrderObjects {
  std::array<uint64_t, 2> barrier;
  using OfWarp = std::array<uint64_t, 64>;
  std::array<OfWarp, kMostWarps> warps;
};

struct Engine {
  ~Engine();

  // The grid.
  const char* name = nullptr;  // Null: none runs.
  const std::function<void()>* kernel = nullptr;
  unsigned num_threads = 0;  // Of a block.
  unsigned num_warps = 0;
  uint64_t num_launches = 0;

  // The block.
  Schedule schedule;
  ThreadList ready;        // Linear order: have waited and can go on.
  unsigned unstarted = 0;  // Linear order: the first that has not begun.
  unsigned finished = 0;
  Barrier barrier;
  SharedArena shared;

  Fiber main;  // The OS thread's own stack.
  std::byte* stacks = nullptr;
  std::array<Runner, kMostThreads> runners;
  unsigned num_runners = 0;
  CopyPlaces* copy_places = nullptr;  // Of each thread.

  // With ThreadSanitizer: a context for each warp, or for each thread.
  bool thread_grain = false;
  std::array<Context, kMostThreads> contexts{};
  std::array<Runner*, kMostThreads> idle{};  // Stacks stay in their contexts.
  OrderObjects* order = nullptr;
  uint64_t grid_end = 0;  // Ordering object: what all threads did.

  dim3 numbered{0, 0, 0};  // The block shape that `threads` are numbered for.
  std::array<Thread, kMostThreads> threads;
  std::array<Warp, kMostWarps> warps;

  Thread& current() const { return *static_cast<Thread*>(current_thread); }
  Warp& warp_of(const Thread& thread) { return warps[thread.warp()]; }

  void run(const char* grid_name, const GridShape& shape,
           const std::function<void()>& function, int64_t seed);

  // Lets other threads run until the current one, which is in some list, was
  // made ready and its turn comes.
  void wait();
  // Those of the list go on next.
  void make_ready(ThreadList& list);

 private:
  static void runner_entry() noexcept;
  void run_threads();
  void run_block(std::size_t shared_bytes);
  void number_threads(dim3 shape);
  Thread* next_thread();
  void go_to(Fiber& from, Thread& thread);
  void finish(Thread& thread);
  Runner* take_runner(unsigned context);
  void give_back(Runner* runner, unsigned context);
  unsigned context_of(const Thread& thread) const {
    if (!kHasContexts) return 0;
    return thread_grain ? thread.number : thread.warp();
  }
  void begin_contexts();
  void end_contexts();
  void release_stacks();
  [[noreturn]] void report_stuck() const;
};

// Of this OS thread.
extern constinit thread_local Engine* engine;

// Prints "hostcuda: kernel NAME, block (x,y,z), thread (x,y,z): " and the text,
// and ends the process.
[[noreturn]] void fail(const char* format, ...)
    __attribute__((format(printf, 1, 2)));
// Without the thread: of the block as a whole.
[[noreturn]] void fail_block(const char* format, ...)
    __attribute__((format(printf, 1, 2)));

}  // namespace hostcuda
