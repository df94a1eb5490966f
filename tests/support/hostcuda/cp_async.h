#pragma once

// cp.async: copies of 16 bytes to shared memory that are done when their thread
// waits for them.

#include <hostcuda/cp_async_queue.h>

namespace hostcuda {

// The current thread's.
void cp_async_issue(const Copy& copy);
void cp_async_commit();
// Takes the oldest copy of all but the last `pending` groups: what a wait for
// them has to do. Null: there is none left.
const Copy* cp_async_take(unsigned pending);

// Half of a copy, whatever type stands there.
using CopyHalf [[gnu::may_alias]] = uint64_t;

// The first `bytes` bytes there; the rest is zero.
struct CopyValue {
  uint64_t low, high;
};
inline CopyValue read_copy(const void* from, unsigned bytes) {
  const auto* const halves = static_cast<const volatile CopyHalf*>(from);
  if (bytes == 16) return {halves[0], halves[1]};
  CopyValue value{0, 0};
  const auto* const each = static_cast<const volatile unsigned char*>(from);
  for (unsigned i = 0; i < bytes; ++i) {
    (i < 8 ? value.low : value.high) |= uint64_t{each[i]} << 8 * (i % 8);
  }
  return value;
}

inline void write_copy(void* to, const CopyValue& value) {
  auto* const halves = static_cast<volatile CopyHalf*>(to);
  halves[0] = value.low;
  halves[1] = value.high;
}

// The accesses are here, in the source of the kernel, for the sanitizers. Until
// the wait, NaN stands there: who reads too early shall see it.
inline void begin_copy(void* to, const void* from, unsigned bytes) {
  cp_async_issue({to, from, bytes, 0});
  (void)read_copy(from, bytes);
  write_copy(to, {~uint64_t{0}, ~uint64_t{0}});
}

template <int kPending>
void finish_copies() {
  while (const Copy* const copy = cp_async_take(kPending)) {
    write_copy(copy->to, read_copy(copy->from, copy->bytes));
  }
}

}  // namespace hostcuda
