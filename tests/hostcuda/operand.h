#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>
#include <random>

#include "tests/hostcuda/modes.h"

namespace hostcuda {

inline std::size_t size_of(cudaDataType type) {
  return type == CUDA_R_16BF ? 2 : type == CUDA_R_32F ? 4 : 8;
}

inline double load(const char* data, cudaDataType type, int64_t i) {
  if (type == CUDA_R_64F) {
    double value;
    std::memcpy(&value, data + i * 8, 8);
    return value;
  }
  uint32_t bits = 0;
  if (type == CUDA_R_32F) {
    std::memcpy(&bits, data + i * 4, 4);
  } else {
    uint16_t half;
    std::memcpy(&half, data + i * 2, 2);
    bits = uint32_t{half} << 16;
  }
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

inline void store(double value, char* data, cudaDataType type, int64_t i) {
  if (type == CUDA_R_64F) {
    std::memcpy(data + i * 8, &value, 8);
    return;
  }
  const float f32 = static_cast<float>(value);
  if (type == CUDA_R_32F) {
    std::memcpy(data + i * 4, &f32, 4);
    return;
  }
  uint32_t bits;  // Cut: the values of the tests need no rounding rule.
  std::memcpy(&bits, &f32, 4);
  const auto half = static_cast<uint16_t>(bits >> 16);
  std::memcpy(data + i * 2, &half, 2);
}

// A row-major matrix [rows, ld] in pinned and in device memory.
class Operand {
 public:
  Operand(cudaDataType type, int64_t rows, int64_t ld)
      : type_(type),
        size_(rows * ld),
        pinned_(Array<char>::kPinned, size_ * size_of(type)),
        device_(Array<char>::kDevice, size_ * size_of(type)) {}

  void fill(std::mt19937& random, cudaStream_t stream) {
    std::uniform_real_distribution<double> values(-1, 1);
    for (int64_t i = 0; i < size_; ++i) set(i, values(random));
    upload(stream);
  }
  void upload(cudaStream_t stream) {
    copy(device_.data(), pinned_.data(), pinned_.size(), stream);
  }
  void download(cudaStream_t stream) {
    copy(pinned_.data(), device_.data(), pinned_.size(), stream);
  }
  double operator()(int64_t i) const { return load(pinned_.data(), type_, i); }
  void set(int64_t i, double value) { store(value, pinned_.data(), type_, i); }
  char* device() const { return device_.data(); }
  cudaDataType type() const { return type_; }

 private:
  cudaDataType type_;
  int64_t size_;
  Array<char> pinned_, device_;
};

}  // namespace hostcuda
