#pragma once

#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace hostcuda {

// The handles that the program holds, by address. A stale one isn't found.
template <class T>
class Handles {
 public:
  void add(const std::shared_ptr<T>& object) {
    const std::lock_guard lock(mutex_);
    objects_[object.get()] = object;
  }

  std::shared_ptr<T> find(const T* handle) {
    const std::lock_guard lock(mutex_);
    const auto found = objects_.find(handle);
    return found == objects_.end() ? nullptr : found->second;
  }

  bool remove(const T* handle) {
    const std::lock_guard lock(mutex_);
    return objects_.erase(handle) > 0;
  }

  std::vector<std::shared_ptr<T>> all() {
    const std::lock_guard lock(mutex_);
    std::vector<std::shared_ptr<T>> all;
    for (const auto& entry : objects_) all.push_back(entry.second);
    return all;
  }

 private:
  std::mutex mutex_;
  std::unordered_map<const T*, std::shared_ptr<T>> objects_;
};

}  // namespace hostcuda
