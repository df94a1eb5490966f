// The stacks that threads run on, and the contexts that ThreadSanitizer tells
// them apart by.

#include <hostcuda/engine_state.h>

namespace hostcuda {

namespace {

// What a stack takes of the address space. Pages are used as they are touched.
constexpr std::size_t kStackBytes = 256 << 10;
constexpr std::size_t kPage = 4096;

// Stacks at equal distances would share few places of the caches.
std::size_t stack_offset(unsigned runner) { return runner % 61 * 192; }

}  // namespace

Engine::~Engine() {
  release_stacks();
  if (copy_places != nullptr) {
    unmap_memory(reinterpret_cast<std::byte*>(copy_places),
                 kMostThreads * sizeof(CopyPlaces));
  }
}

void Engine::release_stacks() {
  if (stacks == nullptr) return;
  for (unsigned r = 0; r < num_runners; ++r) {
    unpoison_memory(runners[r].fiber.stack, runners[r].fiber.stack_bytes);
  }
  unmap_memory(stacks, kMostThreads * kStackBytes);
  stacks = nullptr;
  num_runners = 0;
}

Runner* Engine::take_runner(unsigned context) {
  if (Runner* const runner = idle[context]; runner != nullptr) {
    idle[context] = runner->next;
    if (runner->next != nullptr) prefetch_fiber(runner->next->fiber);
    return runner;
  }
  if (stacks == nullptr) stacks = map_memory(kMostThreads * kStackBytes);
  std::byte* const stack = stacks + num_runners * kStackBytes;
  guard_memory(stack, kPage);
  Runner& runner = runners[num_runners];
  make_fiber(runner.fiber, stack + kPage,
             kStackBytes - kPage - stack_offset(num_runners), &runner_entry);
  runner.fiber.context = contexts[context];
  ++num_runners;
  return &runner;
}

void Engine::give_back(Runner* runner, unsigned context) {
  runner->next = idle[context];
  idle[context] = runner;
}

// Contexts, stacks and ordering objects are new for each block: one that is
// used again would order the blocks, or would look like a race.
void Engine::begin_contexts() {
  order = reinterpret_cast<OrderObjects*>(map_memory(sizeof(OrderObjects)));
  const unsigned num_contexts = thread_grain ? num_threads : num_warps;
  for (unsigned c = 0; c < num_contexts; ++c) {
    contexts[c] = make_context();
    idle[c] = nullptr;
  }
}

void Engine::end_contexts() {
  const unsigned num_contexts = thread_grain ? num_threads : num_warps;
  for (unsigned c = 0; c < num_contexts; ++c) destroy_context(contexts[c]);
  unmap_memory(reinterpret_cast<std::byte*>(order), sizeof(OrderObjects));
  release_stacks();
}

}  // namespace hostcuda
