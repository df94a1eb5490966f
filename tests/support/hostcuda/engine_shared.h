#pragma once

// The memory that the threads of a block share.

#include <array>
#include <cstddef>

namespace hostcuda {

// Arrays of exact size, filled with 0xFF (a NaN in floating-point types), with
// 128 bytes between them that must not be written: AddressSanitizer reports
// every access to them, else what stands there is looked at after the block.
class SharedArena {
 public:
  // What a block has on the devices this is for, and of arrays in the source.
  static constexpr std::size_t kMostBytes = 227 << 10;
  static constexpr std::size_t kMostStaticBytes = 48 << 10;

  SharedArena() = default;
  SharedArena(const SharedArena&) = delete;
  SharedArena& operator=(const SharedArena&) = delete;
  ~SharedArena();

  // `fresh`: in memory that no block has had.
  void begin_block(std::size_t dynamic_bytes, bool fresh);
  void end_block();

  void* dynamic() const { return arrays_[0].memory; }
  // The array that the declaration at `site` makes: the first thread that
  // comes by places it.
  void* array(const void* site, std::size_t bytes);

 private:
  static constexpr std::size_t kRedzone = 128;
  static constexpr std::size_t kMostArrays = 64;
  static constexpr std::size_t kArenaBytes =
      kMostBytes + (kMostArrays + 1) * 2 * kRedzone;
  struct Array {
    const void* site;
    std::byte* memory;
    std::size_t bytes;
  };

  void place(const void* site, std::size_t bytes);
  static void require_untouched(const std::byte* redzone,
                                std::size_t bytes_before);
  void release();

  std::byte* memory_ = nullptr;
  std::size_t used_ = 0;
  std::size_t static_bytes_ = 0;
  std::size_t num_arrays_ = 0;
  std::array<Array, kMostArrays> arrays_{};  // The first: the dynamic one.
};

}  // namespace hostcuda
