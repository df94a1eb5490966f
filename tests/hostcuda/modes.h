#pragma once

#include <cuda_runtime.h>
#include <gtest/gtest.h>
#include <hostcuda/settings.h>

#include <cstdlib>
#include <optional>
#include <string>

namespace hostcuda {

// A variable of the environment while it lives; the settings follow it.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    setenv(name, value.c_str(), 1);
    reload_settings();
  }
  ~Variable() {
    if (before_) {
      setenv(name_, before_->c_str(), 1);
    } else {
      unsetenv(name_);
    }
    reload_settings();
  }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
  std::optional<std::string> before_;
};

inline cudaStream_t new_stream() {
  cudaStream_t stream = nullptr;
  EXPECT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking),
            cudaSuccess);
  return stream;
}

// A test that runs in each of the modes of streams.
class Modes : public ::testing::TestWithParam<const char*> {
 protected:
  Modes() : mode_("TIMEPIPE_HOSTCUDA_STREAMS", GetParam()) {}

  void SetUp() override { stream_ = new_stream(); }
  void TearDown() override {
    EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
    EXPECT_EQ(cudaStreamDestroy(stream_), cudaSuccess);
    EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  }

 private:
  Variable mode_;

 protected:
  cudaStream_t stream_ = nullptr;
};

inline std::string mode_name(
    const ::testing::TestParamInfo<const char*>& info) {
  return info.param;
}

inline const auto kAllModes =
    ::testing::Values("inline", "protected", "threads");

// An array that holds device or pinned memory while it lives.
template <class T>
class Array {
 public:
  enum Kind { kDevice, kPinned };

  Array(Kind kind, std::size_t size) : kind_(kind), size_(size) {
    void* memory = nullptr;
    EXPECT_EQ(kind == kDevice ? cudaMalloc(&memory, size * sizeof(T))
                              : cudaHostAlloc(&memory, size * sizeof(T), 0),
              cudaSuccess);
    data_ = static_cast<T*>(memory);
  }
  ~Array() {
    EXPECT_EQ(kind_ == kDevice ? cudaFree(data_) : cudaFreeHost(data_),
              cudaSuccess);
  }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;

  T* data() const { return data_; }
  std::size_t bytes() const { return size_ * sizeof(T); }
  std::size_t size() const { return size_; }
  T& operator[](std::size_t i) { return data_[i]; }  // Pinned memory's.

 private:
  Kind kind_;
  std::size_t size_;
  T* data_ = nullptr;
};

// Copies between them in stream order; the caller waits.
template <class T>
void copy(T* to, const T* from, std::size_t size, cudaStream_t stream) {
  EXPECT_EQ(
      cudaMemcpyAsync(to, from, size * sizeof(T), cudaMemcpyDefault, stream),
      cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
}

}  // namespace hostcuda
