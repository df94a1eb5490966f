#include <fcntl.h>
#include <hostcuda/launch.h>
#include <hostcuda/order.h>
#include <hostcuda/registry.h>
#include <hostcuda/settings.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <unordered_map>

namespace hostcuda {
namespace {

// Appends the lines to the file that the settings name, in one write, so that
// those of several processes don't mix.
void write_launches() {
  const std::string& file = settings().launches;
  if (file.empty()) return;
  const std::string lines = launch_lines();
  const int descriptor =
      open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  const ssize_t written =
      descriptor < 0 ? -1 : write(descriptor, lines.data(), lines.size());
  if (written != static_cast<ssize_t>(lines.size())) {
    std::fprintf(stderr, "hostcuda: can't append the launches to %s\n",
                 file.c_str());
    _exit(1);
  }
  close(descriptor);
}

class Registry {
 public:
  Registry() { std::atexit(write_launches); }

  std::atomic<int64_t>& counter(const char* name) {
    const std::lock_guard lock(mutex_);
    return counters_[name];
  }

  std::map<std::string, int64_t> counts() {
    const std::lock_guard lock(mutex_);
    return {counters_.begin(), counters_.end()};
  }

 private:
  std::mutex mutex_;
  std::map<std::string, std::atomic<int64_t>> counters_;
};

// Made by the first static object that asks, and never destroyed.
Registry& registry() {
  static Registry& registry = *new Registry;
  return registry;
}

}  // namespace

void register_kernel(const char* name) {
  const Unseen unseen;
  registry().counter(name);
}

void count_launch(const char* name) {
  const Unseen unseen;
  // By address: to find it by its text takes longer than a small kernel.
  thread_local std::unordered_map<const char*, std::atomic<int64_t>*> counters;
  std::atomic<int64_t>*& counter = counters[name];
  if (counter == nullptr) counter = &registry().counter(name);
  counter->fetch_add(1, std::memory_order_relaxed);
}

std::map<std::string, int64_t> launch_counts() {
  const Unseen unseen;
  return registry().counts();
}

std::string launch_lines() {
  std::string lines;
  for (const auto& [name, count] : launch_counts()) {
    lines += std::to_string(count) + '\t' + name + '\n';
  }
  return lines;
}

}  // namespace hostcuda
