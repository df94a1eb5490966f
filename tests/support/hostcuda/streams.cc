#include <hostcuda/handles.h>
#include <hostcuda/memory.h>
#include <hostcuda/order.h>
#include <hostcuda/settings.h>
#include <hostcuda/streams.h>

#include <atomic>
#include <thread>
#include <utility>

namespace hostcuda {
namespace {

// Never destroyed: threads of streams may outlive main().
Handles<CUstream_st>& streams() {
  static Handles<CUstream_st>& streams = *new Handles<CUstream_st>;
  return streams;
}

Handles<CUevent_st>& events() {
  static Handles<CUevent_st>& events = *new Handles<CUevent_st>;
  return events;
}

// So that the work of two streams meets in every order: most tasks start at
// once, one in eight after up to a millisecond.
void delay(std::minstd_rand& random) {
  if (random() % 8 == 0) {
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 1000));
  }
}

// The thread of a stream.
void run_tasks(const Stream& stream) {
  for (;;) {
    std::unique_ptr<Task> task;
    {
      std::unique_lock lock(stream->mutex);
      stream->changed.wait(lock, [&] { return !stream->tasks.empty(); });
      task = std::move(stream->tasks.front());
      stream->tasks.pop_front();
    }
    if (!task->work) return;
    delay(stream->random);
    observe(task.get());
    {
      const DeviceMemoryOpen open;
      const Seen seen;
      task->work();
    }
    publish(&stream->num_finished);
    task.reset();
    {
      const std::lock_guard lock(stream->mutex);
      ++stream->num_finished;
    }
    stream->changed.notify_all();
  }
}

void push(CUstream_st& stream, Work work) {
  auto task = std::make_unique<Task>(Task{std::move(work)});
  publish(task.get());
  {
    const std::lock_guard lock(stream.mutex);
    stream.tasks.push_back(std::move(task));
    ++stream.num_enqueued;
  }
  stream.changed.notify_all();
}

}  // namespace

void Mark::reach() {
  const Unseen unseen;
  publish(this);
  {
    const std::lock_guard lock(mutex_);
    reached_ = true;
    time_ = std::chrono::steady_clock::now();
  }
  changed_.notify_all();
}

bool Mark::reached() {
  const Unseen unseen;
  const std::lock_guard lock(mutex_);
  if (reached_) observe(this);
  return reached_;
}

void Mark::wait() {
  const Unseen unseen;
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return reached_; });
  observe(this);
}

Mark::Time Mark::time() {
  const Unseen unseen;
  const std::lock_guard lock(mutex_);
  return time_;
}

Stream make_stream(int device) {
  const Unseen unseen;
  static std::atomic<int64_t> number = 0;
  auto stream = std::make_shared<CUstream_st>();
  stream->device = device;
  std::seed_seq seeds{seed(), number++};  // Streams have delays of their own.
  stream->random.seed(seeds);
  stream->has_thread = settings().streams == StreamMode::kThreads;
  streams().add(stream);
  if (stream->has_thread) {
    std::thread([stream]() mutable {
      const Unseen unseen;
      run_tasks(stream);
      stream.reset();
    }).detach();
  }
  return stream;
}

void end_stream(const Stream& stream) {
  const Unseen unseen;
  streams().remove(stream.get());
  if (stream->has_thread) push(*stream, nullptr);
}

Stream find_stream(cudaStream_t handle) {
  const Unseen unseen;
  return streams().find(handle);
}

std::vector<Stream> streams_of(int device) {
  const Unseen unseen;
  std::vector<Stream> all = streams().all();
  std::erase_if(all, [&](auto& stream) { return stream->device != device; });
  return all;
}

Event make_event(int device, bool timing) {
  const Unseen unseen;
  auto event = std::make_shared<CUevent_st>();
  event->device = device;
  event->timing = timing;
  events().add(event);
  return event;
}

Event find_event(cudaEvent_t handle) {
  const Unseen unseen;
  return events().find(handle);
}

bool forget_event(cudaEvent_t handle) {
  const Unseen unseen;
  return events().remove(handle);
}

void enqueue(CUstream_st& stream, Work work) {
  const Unseen unseen;
  if (stream.has_thread) {
    push(stream, std::move(work));
    return;
  }
  const std::lock_guard lock(stream.running);
  observe(&stream);
  {
    const DeviceMemoryOpen open;
    const Seen seen;
    work();
  }
  publish(&stream);
}

void synchronize(CUstream_st& stream) {
  const Unseen unseen;
  if (!stream.has_thread) {
    const std::lock_guard lock(stream.running);
    observe(&stream);
    return;
  }
  std::unique_lock lock(stream.mutex);
  const int64_t enqueued = stream.num_enqueued;
  stream.changed.wait(lock, [&] { return stream.num_finished >= enqueued; });
  observe(&stream.num_finished);
}

bool finished(CUstream_st& stream) {
  const Unseen unseen;
  if (!stream.has_thread) {
    const std::unique_lock lock(stream.running, std::try_to_lock);
    if (lock) observe(&stream);
    return lock.owns_lock();
  }
  const std::lock_guard lock(stream.mutex);
  if (stream.num_finished < stream.num_enqueued) return false;
  observe(&stream.num_finished);
  return true;
}

void record(CUstream_st& stream, CUevent_st& event) {
  const Unseen unseen;
  auto mark = std::make_shared<Mark>();
  {
    const std::lock_guard lock(event.mutex);
    event.mark = mark;
  }
  enqueue(stream, [mark] { mark->reach(); });
}

void wait_for(CUstream_st& stream, CUevent_st& event) {
  const Unseen unseen;
  std::shared_ptr<Mark> mark = mark_of(event);
  if (mark == nullptr) return;
  enqueue(stream, [mark] { mark->wait(); });
}

std::shared_ptr<Mark> mark_of(CUevent_st& event) {
  const Unseen unseen;
  const std::lock_guard lock(event.mutex);
  return event.mark;
}

}  // namespace hostcuda
