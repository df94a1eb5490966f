#include <hostcuda/cp_async.h>
#include <hostcuda/engine_state.h>

namespace hostcuda {

namespace {

CopyPlaces& places(const Thread& thread) {
  if (engine->copy_places == nullptr) {
    engine->copy_places = reinterpret_cast<CopyPlaces*>(
        map_memory(kMostThreads * sizeof(CopyPlaces)));
  }
  return engine->copy_places[thread.number];
}

}  // namespace

void cp_async_issue(const Copy& copy) {
  Thread& thread = engine->current();
  CopyQueue& copies = thread.copies;
  if (copies.end - copies.begin == CopyQueue::kMost) {
    fail("has not waited for %u copies (cp.async)", CopyQueue::kMost);
  }
  if (copy.bytes > 16 || reinterpret_cast<uintptr_t>(copy.to) % 16 != 0 ||
      reinterpret_cast<uintptr_t>(copy.from) % 16 != 0) {
    fail(
        "cp.async of %u bytes from %p to %p: at most 16, and at multiples of "
        "16 bytes",
        copy.bytes, copy.from, copy.to);
  }
  places(thread)[copies.end++ % CopyQueue::kMost] = {
      copy.to, copy.from, copy.bytes, copies.open_group};
}

void cp_async_commit() { ++engine->current().copies.open_group; }

const Copy* cp_async_take(unsigned pending) {
  Thread& thread = engine->current();
  CopyQueue& copies = thread.copies;
  if (copies.empty()) return nullptr;
  const Copy& oldest = places(thread)[copies.begin % CopyQueue::kMost];
  // Groups of no copies count, too.
  if (copies.open_group - oldest.group <= pending) return nullptr;
  ++copies.begin;
  return &oldest;
}

}  // namespace hostcuda
