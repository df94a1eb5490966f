#include <hostcuda/order.h>

#ifdef TIMEPIPE_HOSTCUDA_TSAN

#include <utility>

// The runtime's functions, as its headers would declare them.
extern "C" {
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);
void AnnotateIgnoreSyncBegin(const char* file, int line);
void AnnotateIgnoreSyncEnd(const char* file, int line);
void __tsan_acquire(void* object);
void __tsan_release(void* object);
void __tsan_write_range(void* bytes, unsigned long count);
}

namespace hostcuda {
namespace {

thread_local int depth = 0;  // Of this thread's Unseen scopes.

void set_depth(int next) {
  if (depth == 0 && next > 0) {
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
    AnnotateIgnoreSyncBegin(__FILE__, __LINE__);
  } else if (depth > 0 && next == 0) {
    AnnotateIgnoreSyncEnd(__FILE__, __LINE__);
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
  }
  depth = next;
}

}  // namespace

Unseen::Unseen() { set_depth(depth + 1); }
Unseen::~Unseen() { set_depth(depth - 1); }

Seen::Seen() : depth_(depth) { set_depth(0); }
Seen::~Seen() { set_depth(depth_); }

void publish(void* object) {
  Seen seen;
  __tsan_release(object);
}

void observe(void* object) {
  Seen seen;
  __tsan_acquire(object);
}

void declare_written(void* bytes, std::size_t count) {
  Seen seen;
  __tsan_write_range(bytes, count);
}

}  // namespace hostcuda

#endif
