#include <hostcuda/fiber.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace hostcuda {

#ifdef TIMEPIPE_FIBER_SWITCHES_BY_UCONTEXT

void make_fiber(Fiber& fiber, std::byte* stack, std::size_t bytes,
                void (*entry)()) {
  fiber.stack = stack;
  fiber.stack_bytes = bytes;
  getcontext(&fiber.registers);
  fiber.registers.uc_stack.ss_sp = stack;
  fiber.registers.uc_stack.ss_size = bytes;
  fiber.registers.uc_link = nullptr;
  makecontext(&fiber.registers, entry, 0);
}

#else

asm(R"(
.text
.globl hostcuda_switch_stack
.type hostcuda_switch_stack, @function
hostcuda_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size hostcuda_switch_stack, . - hostcuda_switch_stack
)");

void make_fiber(Fiber& fiber, std::byte* stack, std::size_t bytes,
                void (*entry)()) {
  fiber.stack = stack;
  fiber.stack_bytes = bytes;
  // Six registers, the address that the switch returns to, and that of entry's
  // caller, which doesn't exist. A function begins 8 bytes below a multiple of
  // 16.
  auto* top = reinterpret_cast<void**>(stack + bytes) - 2;
  top[1] = nullptr;
  top[0] = reinterpret_cast<void*>(entry);
  for (int i = 1; i <= 6; ++i) top[-i] = nullptr;
  fiber.stack_pointer = top - 6;
}

#endif

void fiber_entered([[maybe_unused]] Fiber& from) {
#ifdef TIMEPIPE_FIBER_ASAN
  const void* stack = nullptr;
  std::size_t bytes = 0;
  __sanitizer_finish_switch_fiber(nullptr, &stack, &bytes);
  if (from.stack == nullptr) {  // The OS thread's, not known before.
    from.stack = static_cast<std::byte*>(const_cast<void*>(stack));
    from.stack_bytes = bytes;
  }
#endif
}

std::byte* map_memory(std::size_t bytes) {
  // Not through mmap: ThreadSanitizer takes that for a write.
  const auto memory =
      syscall(SYS_mmap, nullptr, bytes, PROT_READ | PROT_WRITE,
              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == -1) {
    std::perror("hostcuda: no memory for stacks");
    std::abort();
  }
  return reinterpret_cast<std::byte*>(memory);
}

void unmap_memory(std::byte* memory, std::size_t bytes) {
  munmap(memory, bytes);  // ThreadSanitizer forgets who touched it.
}

void guard_memory(std::byte* memory, std::size_t bytes) {
  syscall(SYS_mprotect, memory, bytes, PROT_NONE);
}

#if defined(__x86_64__)
void fill_bytes(void* to, unsigned char value, std::size_t bytes) {
  asm volatile("rep stosb" : "+D"(to), "+c"(bytes) : "a"(value) : "memory");
}
void copy_bytes(void* to, const void* from, std::size_t bytes) {
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
}
#else
void fill_bytes(void* to, unsigned char value, std::size_t bytes) {
  auto* out = static_cast<volatile unsigned char*>(to);
  for (std::size_t i = 0; i < bytes; ++i) out[i] = value;
}
void copy_bytes(void* to, const void* from, std::size_t bytes) {
  auto* out = static_cast<volatile unsigned char*>(to);
  const auto* in = static_cast<const volatile unsigned char*>(from);
  for (std::size_t i = 0; i < bytes; ++i) out[i] = in[i];
}
#endif

}  // namespace hostcuda
