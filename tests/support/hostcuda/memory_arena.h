#pragma once

#include <cstddef>
#include <map>
#include <mutex>

namespace hostcuda {

// The address range of all device memory in the mode `protected`. It is closed
// (PROT_NONE) but while it is open, in huge pages, which open and close fast.
class Arena {
 public:
  explicit Arena(std::size_t bytes);

  char* allocate(std::size_t bytes);  // Null when it is full.
  void release(char* begin);

  // They nest, over threads too.
  void open();
  void close();

 private:
  void protect(int protection);

  std::mutex mutex_;
  char* begin_;
  std::size_t bytes_;
  std::size_t used_ = 0;  // All that was ever allocated.
  int num_open_ = 0;
  std::map<char*, std::size_t> taken_;  // Size of each block and its redzone.
  std::map<char*, std::size_t> free_;   // Of each hole between them.
};

}  // namespace hostcuda
