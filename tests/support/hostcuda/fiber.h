#pragma once

// Stacks that code can be left on and come back to, known to the sanitizers.

#if defined(__SANITIZE_ADDRESS__)
#define TIMEPIPE_FIBER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TIMEPIPE_FIBER_ASAN 1
#endif
#endif

// Where the switch isn't written by hand.
#if !defined(__x86_64__) || defined(TIMEPIPE_FIBER_UCONTEXT)
#define TIMEPIPE_FIBER_SWITCHES_BY_UCONTEXT 1
#include <ucontext.h>
#endif

#ifdef TIMEPIPE_FIBER_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

// With ThreadSanitizer, the engine's sources are compiled without
// -fsanitize=thread, and TIMEPIPE_FIBER_TSAN says that it is there.
#ifdef TIMEPIPE_FIBER_TSAN
#include <sanitizer/tsan_interface.h>
#endif

#include <cstddef>

namespace hostcuda {

// What ThreadSanitizer takes for a thread: accesses of different contexts are
// ordered only where publish and observe say so. Null without it.
using Context = void*;

struct Fiber {
  std::byte* stack = nullptr;  // Its lowest byte; null: the OS thread's own.
  std::size_t stack_bytes = 0;
  Context context = nullptr;  // In which it runs next.
#ifdef TIMEPIPE_FIBER_SWITCHES_BY_UCONTEXT
  ucontext_t registers;
#else
  void* stack_pointer = nullptr;  // Its registers lie there.
#endif
  void* fake_stack = nullptr;  // AddressSanitizer's, while it is left.
};

// The first switch to the fiber calls `entry`, which never returns and first
// calls fiber_entered.
void make_fiber(Fiber& fiber, std::byte* stack, std::size_t bytes,
                void (*entry)());
void fiber_entered(Fiber& from);

#ifndef TIMEPIPE_FIBER_SWITCHES_BY_UCONTEXT
// Saves the registers that a function must keep, on the stack, and the stack
// pointer in *save; goes on with those that lie at `load`.
extern "C" void hostcuda_switch_stack(void** save, void* load);
#endif

// Leaves `from`, the running fiber, until somebody switches back to it.
void switch_fiber(Fiber& from, Fiber& to);

// Has the cache fetch what a switch to the fiber needs first.
inline void prefetch_fiber([[maybe_unused]] const Fiber& fiber) {
#ifndef TIMEPIPE_FIBER_SWITCHES_BY_UCONTEXT
  const auto* const top = static_cast<const std::byte*>(fiber.stack_pointer);
  for (int line = 0; line < 4; ++line) __builtin_prefetch(top + 64 * line);
#endif
}

#ifdef TIMEPIPE_FIBER_TSAN
inline constexpr bool kHasContexts = true;
inline Context current_context() { return __tsan_get_current_fiber(); }
// All that is done so far comes before what is done in it.
inline Context make_context() { return __tsan_create_fiber(0); }
inline void destroy_context(Context context) { __tsan_destroy_fiber(context); }
// What this context did comes before what follows an observe(object).
inline void publish_context(void* object) { __tsan_release(object); }
inline void observe_context(void* object) { __tsan_acquire(object); }
#else
inline constexpr bool kHasContexts = false;
inline Context current_context() { return nullptr; }
inline Context make_context() { return nullptr; }
inline void destroy_context(Context) {}
inline void publish_context(void*) {}
inline void observe_context(void*) {}
#endif

// Memory that was never touched; with ThreadSanitizer, by no context.
std::byte* map_memory(std::size_t bytes);
void unmap_memory(std::byte* memory, std::size_t bytes);
// No page of it may be touched.
void guard_memory(std::byte* memory, std::size_t bytes);

// AddressSanitizer reports accesses to poisoned bytes.
#ifdef TIMEPIPE_FIBER_ASAN
inline constexpr bool kPoisons = true;
inline void poison_memory(const void* memory, std::size_t bytes) {
  __asan_poison_memory_region(memory, bytes);
}
inline void unpoison_memory(const void* memory, std::size_t bytes) {
  __asan_unpoison_memory_region(memory, bytes);
}
#else
inline constexpr bool kPoisons = false;
inline void poison_memory(const void*, std::size_t) {}
inline void unpoison_memory(const void*, std::size_t) {}
#endif

// As memset and memcpy, unseen by ThreadSanitizer.
void fill_bytes(void* to, unsigned char value, std::size_t bytes);
void copy_bytes(void* to, const void* from, std::size_t bytes);

inline void switch_fiber(Fiber& from, Fiber& to) {
#ifdef TIMEPIPE_FIBER_ASAN
  __sanitizer_start_switch_fiber(&from.fake_stack, to.stack, to.stack_bytes);
#endif
#ifdef TIMEPIPE_FIBER_TSAN
  if (current_context() != to.context) {
    __tsan_switch_to_fiber(to.context, __tsan_switch_to_fiber_no_sync);
  }
#endif
#ifdef TIMEPIPE_FIBER_SWITCHES_BY_UCONTEXT
  swapcontext(&from.registers, &to.registers);
#else
  hostcuda_switch_stack(&from.stack_pointer, to.stack_pointer);
#endif
#ifdef TIMEPIPE_FIBER_ASAN
  __sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
#endif
}

}  // namespace hostcuda
