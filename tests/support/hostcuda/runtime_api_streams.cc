// Streams and events.
#include <hostcuda/order.h>
#include <hostcuda/runtime_api.h>

#include <chrono>

namespace hostcuda {
namespace {

constexpr int kLeastPriority = 0;
constexpr int kGreatestPriority = -5;

constexpr unsigned kEventFlags =
    cudaEventBlockingSync | cudaEventDisableTiming | cudaEventInterprocess;

// The event; null: *error says why not.
Event usable_event(const char* function, cudaEvent_t handle,
                   cudaError_t* error) {
  const Unseen unseen;
  *error = failed(device_state());
  if (*error != cudaSuccess) return nullptr;
  Event event = find_event(handle);
  if (event == nullptr) {
    *error = refused(function, cudaErrorInvalidResourceHandle,
                     "the event doesn't exist");
  }
  return event;
}

}  // namespace
}  // namespace hostcuda

using namespace hostcuda;

cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  const cudaError_t state = device_state();
  if (state != cudaSuccess) return failed(state);
  if (least != nullptr) *least = kLeastPriority;
  if (greatest != nullptr) *greatest = kGreatestPriority;
  return cudaSuccess;
}

// The host runs all priorities alike.
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* handle, unsigned flags,
                                         int) {
  return cudaStreamCreateWithFlags(handle, flags);
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* handle, unsigned flags) {
  const Unseen unseen;
  const cudaError_t state = device_state();
  if (state != cudaSuccess) return failed(state);
  if (handle == nullptr || (flags & ~cudaStreamNonBlocking) != 0) {
    return failed(cudaErrorInvalidValue);
  }
  *handle = make_stream(current_device()).get();
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t handle) {
  const Unseen unseen;
  cudaError_t error;
  const Stream stream = usable_stream("cudaStreamDestroy", handle, &error);
  if (stream != nullptr) end_stream(stream);
  return error;
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  const Unseen unseen;
  cudaError_t error;
  const Stream stream = usable_stream("cudaStreamSynchronize", handle, &error);
  if (stream != nullptr) synchronize(*stream);
  return error;
}

cudaError_t cudaStreamQuery(cudaStream_t handle) {
  const Unseen unseen;
  cudaError_t error;
  const Stream stream = usable_stream("cudaStreamQuery", handle, &error);
  if (stream == nullptr) return error;
  return finished(*stream) ? cudaSuccess : failed(cudaErrorNotReady);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream_handle,
                                cudaEvent_t event_handle, unsigned flags) {
  const Unseen unseen;
  if (flags != cudaEventWaitDefault) return failed(cudaErrorInvalidValue);
  cudaError_t error;
  const Stream stream =
      usable_stream("cudaStreamWaitEvent", stream_handle, &error);
  if (stream == nullptr) return error;
  const Event event = usable_event("cudaStreamWaitEvent", event_handle, &error);
  if (event != nullptr) wait_for(*stream, *event);
  return error;
}

cudaError_t cudaDeviceSynchronize() {
  const Unseen unseen;
  const cudaError_t state = device_state();
  if (state != cudaSuccess) return failed(state);
  for (const Stream& stream : streams_of(current_device())) {
    synchronize(*stream);
  }
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* handle, unsigned flags) {
  const Unseen unseen;
  const cudaError_t state = device_state();
  if (state != cudaSuccess) return failed(state);
  if (handle == nullptr || (flags & ~kEventFlags) != 0) {
    return failed(cudaErrorInvalidValue);
  }
  const bool timing = (flags & cudaEventDisableTiming) == 0;
  *handle = make_event(current_device(), timing).get();
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t handle) {
  const Unseen unseen;
  cudaError_t error;
  if (usable_event("cudaEventDestroy", handle, &error) != nullptr) {
    forget_event(handle);
  }
  return error;
}

cudaError_t cudaEventRecord(cudaEvent_t event_handle,
                            cudaStream_t stream_handle) {
  const Unseen unseen;
  cudaError_t error;
  const Stream stream = usable_stream("cudaEventRecord", stream_handle, &error);
  if (stream == nullptr) return error;
  const Event event = usable_event("cudaEventRecord", event_handle, &error);
  if (event == nullptr) return error;
  if (event->device != stream->device) {
    return refused("cudaEventRecord", cudaErrorInvalidResourceHandle,
                   "event and stream are those of two devices");
  }
  record(*stream, *event);
  return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t handle) {
  const Unseen unseen;
  cudaError_t error;
  const Event event = usable_event("cudaEventQuery", handle, &error);
  if (event == nullptr) return error;
  const auto mark = mark_of(*event);
  if (mark == nullptr || mark->reached()) return cudaSuccess;
  return failed(cudaErrorNotReady);
}

cudaError_t cudaEventSynchronize(cudaEvent_t handle) {
  const Unseen unseen;
  cudaError_t error;
  const Event event = usable_event("cudaEventSynchronize", handle, &error);
  if (event == nullptr) return error;
  if (const auto mark = mark_of(*event)) mark->wait();
  return cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start_handle,
                                 cudaEvent_t end_handle) {
  const Unseen unseen;
  if (milliseconds == nullptr) return failed(cudaErrorInvalidValue);
  cudaError_t error;
  const Event start =
      usable_event("cudaEventElapsedTime", start_handle, &error);
  if (start == nullptr) return error;
  const Event end = usable_event("cudaEventElapsedTime", end_handle, &error);
  if (end == nullptr) return error;
  const auto from = mark_of(*start), to = mark_of(*end);
  if (!start->timing || !end->timing || from == nullptr || to == nullptr) {
    return refused("cudaEventElapsedTime", cudaErrorInvalidResourceHandle,
                   "an event that wasn't recorded, or doesn't take the time");
  }
  if (!from->reached() || !to->reached()) return failed(cudaErrorNotReady);
  const std::chrono::duration<float, std::milli> time =
      to->time() - from->time();
  *milliseconds = time.count();
  return cudaSuccess;
}
