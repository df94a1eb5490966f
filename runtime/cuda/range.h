#pragma once

namespace timepipe::cuda {

// An operation's time on the host, with its name, in the profilers that read
// NVTX: what it launches is shown under it.
class OperationRange {
 public:
  explicit OperationRange(const char* name);
  ~OperationRange();
  OperationRange(const OperationRange&) = delete;
  OperationRange& operator=(const OperationRange&) = delete;
};

}  // namespace timepipe::cuda
