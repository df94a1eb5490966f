// __syncthreads, and what is said of a block that can't go on.

#include <hostcuda/engine_state.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace hostcuda {

namespace {

// The whole message in one write, so that those of other OS threads don't mix
// with it.
[[noreturn]] void say_and_abort(const char* who, const char* format,
                                std::va_list arguments) {
  char text[1024];
  std::vsnprintf(text, sizeof text, format, arguments);
  std::fprintf(stderr, "hostcuda: %s: %s\n", who, text);
  std::abort();
}

int print_block(char* text, std::size_t bytes) {
  const uint3& block = current_block.index;
  return std::snprintf(text, bytes, "kernel %s, block (%u,%u,%u)", engine->name,
                       block.x, block.y, block.z);
}

}  // namespace

void fail(const char* format, ...) {
  char who[512];
  int length = print_block(who, sizeof who);
  const uint3& thread = current_thread->index;
  std::snprintf(who + length, sizeof who - static_cast<std::size_t>(length),
                ", thread (%u,%u,%u)", thread.x, thread.y, thread.z);
  std::va_list arguments;
  va_start(arguments, format);
  say_and_abort(who, format, arguments);
}

void fail_block(const char* format, ...) {
  char who[512];
  print_block(who, sizeof who);
  std::va_list arguments;
  va_start(arguments, format);
  say_and_abort(who, format, arguments);
}

bool Site::is_same_text(const char* a, const char* b) {
  return std::strcmp(a, b) == 0;
}

void block_barrier(const char* file, int line) {
  Engine& e = *engine;
  Barrier& barrier = e.barrier;
  const Site site{file, line};
  if (barrier.waiting.empty()) {
    barrier.site = site;
  } else if (!(barrier.site == site)) {
    fail("is at __syncthreads of %s:%d, other threads at that of %s:%d", file,
         line, barrier.site.file, barrier.site.line);
  }
  uint64_t* const order =
      kHasContexts ? &e.order->barrier[barrier.parity] : nullptr;
  publish_context(order);
  barrier.waiting.push(&e.current());
  if (++barrier.arrived == e.num_threads) {
    barrier.arrived = 0;
    barrier.parity ^= 1;
    e.make_ready(barrier.waiting);
  }
  e.wait();
  observe_context(order);
}

void Engine::report_stuck() const {
  char text[768];
  std::size_t length = 0;
  const auto say = [&](unsigned count, const char* what, const Site& site) {
    length += static_cast<std::size_t>(std::snprintf(
        text + length, sizeof text - length, ", %u wait at %s of %s:%d", count,
        what, site.file, site.line));
    if (length >= sizeof text) length = sizeof text - 1;
  };
  if (barrier.arrived > 0) say(barrier.arrived, "__syncthreads", barrier.site);
  for (unsigned w = 0; w < num_warps; ++w) {
    for (unsigned g = 0; g < warps[w].num_groups; ++g) {
      const Group& group = warps[w].groups[g];
      say(static_cast<unsigned>(__builtin_popcount(group.arrived)),
          group.operation, group.site);
    }
  }
  fail_block("no thread can go on: %u exited%.*s", finished,
             static_cast<int>(length), text);
}

}  // namespace hostcuda
