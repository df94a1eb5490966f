#include <hostcuda/engine.h>
#include <hostcuda/engine_state.h>
#include <hostcuda/settings.h>

#include <cstdlib>
#include <memory>
#include <string_view>

namespace hostcuda {

constinit thread_local CurrentThread* current_thread = nullptr;
constinit thread_local CurrentBlock current_block{};
constinit thread_local Engine* engine = nullptr;

namespace {

std::unique_ptr<Engine> make_engine() {
  auto made = std::make_unique<Engine>();
  const char* const grain = std::getenv("TIMEPIPE_HOSTCUDA_GRAIN");
  made->thread_grain = grain != nullptr && std::string_view(grain) == "thread";
  return made;
}

}  // namespace

void run_grid(const char* name, const GridShape& shape,
              const std::function<void()>& kernel) {
  run_grid(name, shape, kernel, seed());
}

void run_grid(const char* name, const GridShape& shape,
              const std::function<void()>& kernel, int64_t seed) {
  thread_local std::unique_ptr<Engine> owner;
  if (owner == nullptr) {
    owner = make_engine();
    engine = owner.get();
  }
  engine->run(name, shape, kernel, seed);
}

void Engine::run(const char* grid_name, const GridShape& shape,
                 const std::function<void()>& function, int64_t seed) {
  if (name != nullptr) fail("starts the kernel %s", grid_name);
  name = grid_name;
  current_block.index = {};
  kernel = &function;
  const uint64_t num_blocks =
      uint64_t{shape.blocks.x} * shape.blocks.y * shape.blocks.z;
  const uint64_t threads_asked =
      uint64_t{shape.threads.x} * shape.threads.y * shape.threads.z;
  if (threads_asked == 0 || threads_asked > kMostThreads) {
    fail_block("%llu threads in a block",
               static_cast<unsigned long long>(threads_asked));
  }
  if (shape.shared_bytes > SharedArena::kMostBytes) {
    fail_block("%zu bytes of dynamic shared memory", shape.shared_bytes);
  }
  number_threads(shape.threads);
  current_block.block_dim = shape.threads;
  current_block.grid_dim = shape.blocks;
  schedule.begin_grid(seed, num_launches++, num_blocks);
  main.context = current_context();
  for (uint64_t i = 0; i < num_blocks; ++i) {
    const uint64_t block = schedule.block(i);
    const uint64_t row = block / shape.blocks.x;
    current_block.index = {static_cast<unsigned>(block % shape.blocks.x),
                           static_cast<unsigned>(row % shape.blocks.y),
                           static_cast<unsigned>(row / shape.blocks.y)};
    run_block(shape.shared_bytes);
  }
  observe_context(&grid_end);
  name = nullptr;
}

void Engine::number_threads(dim3 shape) {
  if (shape.x == numbered.x && shape.y == numbered.y && shape.z == numbered.z) {
    return;
  }
  numbered = shape;
  num_threads = shape.x * shape.y * shape.z;
  num_warps = (num_threads + kWarpSize - 1) / kWarpSize;
  for (unsigned t = 0; t < num_threads; ++t) {
    const unsigned row = t / shape.x;
    threads[t].index = {t % shape.x, row % shape.y, row / shape.y};
    threads[t].number = t;
  }
}

void Engine::run_block(std::size_t shared_bytes) {
  for (unsigned w = 0; w < num_warps; ++w) {
    warps[w].gone = 0;
    warps[w].num_groups = 0;
  }
  if (const unsigned lanes = num_threads % kWarpSize; lanes != 0) {
    warps[num_warps - 1].gone = ~uint32_t{0} << lanes;
  }
  unstarted = 0;
  finished = 0;
  if (!schedule.is_linear()) schedule.begin_block(num_threads);
  shared.begin_block(shared_bytes, kHasContexts);
  if (kHasContexts) begin_contexts();

  go_to(main, *next_thread());

  current_thread = nullptr;
  if (kHasContexts) end_contexts();
  shared.end_block();
}

void Engine::runner_entry() noexcept {
  fiber_entered(engine->main);
  engine->run_threads();
}

// What happens on a runner's stack, for ever: a thread, and then the next, on
// another stack if it has waited there.
void Engine::run_threads() {
  for (;;) {
    Thread& thread = current();
    Runner* const runner = thread.runner;
    const unsigned context = context_of(thread);
    (*kernel)();
    finish(thread);
    Thread* const next = next_thread();
    if (next == nullptr) {
      if (finished != num_threads) report_stuck();
      give_back(runner, context);
      switch_fiber(runner->fiber, main);
    } else if (next->runner == nullptr && context_of(*next) == context) {
      next->runner = runner;
      current_thread = next;
    } else {
      give_back(runner, context);
      go_to(runner->fiber, *next);
    }
  }
}

Thread* Engine::next_thread() {
  if (!schedule.is_linear()) {
    const int number = schedule.take();
    return number < 0 ? nullptr : &threads[static_cast<unsigned>(number)];
  }
  if (!ready.empty()) {
    Thread* const thread = ready.pop();
    if (!ready.empty()) prefetch_fiber(ready.first->runner->fiber);
    return thread;
  }
  return unstarted < num_threads ? &threads[unstarted++] : nullptr;
}

// Comes back when somebody goes to what runs on `from`.
void Engine::go_to(Fiber& from, Thread& thread) {
  if (thread.runner == nullptr) thread.runner = take_runner(context_of(thread));
  current_thread = &thread;
  switch_fiber(from, thread.runner->fiber);
}

void Engine::wait() {
  Thread& thread = current();
  Thread* const next = next_thread();
  if (next == nullptr) report_stuck();
  if (next != &thread) go_to(thread.runner->fiber, *next);
}

void Engine::make_ready(ThreadList& list) {
  if (schedule.is_linear()) return ready.put_first(list);
  while (!list.empty()) schedule.make_ready(list.pop()->number);
}

void Engine::finish(Thread& thread) {
  if (!thread.copies.empty()) {
    fail("exits before it has waited for its copies (cp.async)");
  }
  Warp& warp = warp_of(thread);
  const uint32_t lane = uint32_t{1} << thread.lane();
  warp.gone |= lane;
  for (unsigned g = 0; g < warp.num_groups; ++g) {
    const Group& group = warp.groups[g];
    if (group.mask & lane) {
      fail("exits, but lanes 0x%08x wait for it in %s at %s:%d", group.arrived,
           group.operation, group.site.file, group.site.line);
    }
  }
  thread.runner = nullptr;
  ++finished;
  publish_context(&grid_end);
}

}  // namespace hostcuda
