#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace timepipe {

// Takes items from next(), an optional that is empty at the end, has them
// worked on by threads, work(thread, item), and gives the results to take() one
// after the other in the order of the items, whatever the number of threads. At
// most one item per thread exists at a time. The first exception, in that
// order, is thrown again.
template <class Next, class Work, class Take>
void work_in_order(int threads, Next&& next, Work&& work, Take&& take) {
  std::mutex source, sink;
  std::condition_variable turn;
  int64_t given = 0, taken = 0;
  bool ended = false;
  std::exception_ptr failure;

  // Works on one item; false if there was none.
  const auto one = [&](int thread) {
    int64_t index = 0;
    std::exception_ptr mistake;
    const auto my_turn = [&] { return taken == index; };
    try {
      std::unique_lock lock(source);
      index = given++;
      decltype(next()) item;
      if (!std::exchange(ended, true)) item = next();  // stays so if it throws
      ended = !item.has_value();
      lock.unlock();
      if (!item.has_value()) return false;
      auto result = work(thread, std::move(*item));
      std::unique_lock waiting(sink);
      turn.wait(waiting, my_turn);
      if (!failure) take(std::move(result));
    } catch (...) {
      mistake = std::current_exception();
    }
    std::unique_lock waiting(sink);
    turn.wait(waiting, my_turn);
    ++taken;
    const bool first = mistake && !failure;
    if (first) failure = mistake;
    turn.notify_all();
    return !failure;
  };

  std::vector<std::jthread> pool;
  for (int thread = 1; thread < threads; ++thread) {
    pool.emplace_back([&one, thread] {
      while (one(thread)) {
      }
    });
  }
  while (one(0)) {
  }
  pool.clear();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace timepipe
