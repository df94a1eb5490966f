#pragma once

// Small tables that the host makes for kernels.

#include <cstring>
#include <span>
#include <type_traits>
#include <vector>

#include "kernels/cuda/launch.h"
#include "runtime/transfer.h"

namespace timepipe::cuda {

// Rows in the memory of the device, for the kernels that are enqueued as long
// as this lives.
template <class Row>
class DeviceTable {
 public:
  DeviceTable(Context& ctx, std::span<const Row> rows)
      : words_(ctx.allocate({std::ssize(rows) * kWords}, DType::kI64)) {
    if (rows.empty()) return;
    std::vector<int64_t> words(rows.size() * kWords);
    std::memcpy(words.data(), rows.data(), rows.size_bytes());
    upload(ctx, std::span<const int64_t>(words), words_);
  }

  const Row* rows() const {
    return reinterpret_cast<const Row*>(device_elements<int64_t>(words_));
  }
  int64_t size() const { return words_.numel() / kWords; }

 private:
  static_assert(std::is_trivially_copyable_v<Row>);
  static_assert(sizeof(Row) % sizeof(int64_t) == 0);
  static constexpr int64_t kWords = sizeof(Row) / sizeof(int64_t);

  Tensor words_;
};

}  // namespace timepipe::cuda
