#pragma once

// Which order of accesses ThreadSanitizer sees. The layer's own locks must
// give none: a lock that two streams take would order their work, and a missing
// wait would go unseen. So the functions of the API run unseen, and declare the
// order that CUDA promises, and no more. Without ThreadSanitizer all of this is
// empty.

#if defined(__SANITIZE_THREAD__)
#define TIMEPIPE_HOSTCUDA_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TIMEPIPE_HOSTCUDA_TSAN 1
#endif
#endif

#if defined(__SANITIZE_ADDRESS__)
#define TIMEPIPE_HOSTCUDA_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TIMEPIPE_HOSTCUDA_ASAN 1
#endif
#endif

#include <cstddef>

namespace hostcuda {

#ifdef TIMEPIPE_HOSTCUDA_TSAN

// While one lives, this thread's accesses are not recorded and its locks and
// atomics give no order. They nest.
class Unseen {
 public:
  Unseen();
  ~Unseen();
  Unseen(const Unseen&) = delete;
  Unseen& operator=(const Unseen&) = delete;
};

// Inside it: work of the program, such as a kernel or a copy.
class Seen {
 public:
  Seen();
  ~Seen();
  Seen(const Seen&) = delete;
  Seen& operator=(const Seen&) = delete;

 private:
  int depth_;
};

// All that this thread did comes before what follows an observe(object).
void publish(void* object);
void observe(void* object);

// As if this thread had written the bytes.
void declare_written(void* bytes, std::size_t count);

#else

class Unseen {
 public:
  Unseen() {}  // Not trivial, so that an object that is only a scope is used.
};
class Seen {
 public:
  Seen() {}
};
inline void publish(void*) {}
inline void observe(void*) {}
inline void declare_written(void*, std::size_t) {}

#endif

}  // namespace hostcuda
