// Programs with one error each in their use of streams or memory, and a correct
// one. Without an argument: a line for each that this build can see, "name
// <tab> mode of streams <tab> what it must report"; planted_streams.sh runs
// them all.
#include <cublas_v2.h>
#include <hostcuda/launch.h>
#include <hostcuda/order.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

using hostcuda::launch;

constexpr hostcuda::GridShape kOneThread{dim3(1), dim3(1), 0};
constexpr int kSize = 1000;
constexpr std::size_t kBytes = kSize * sizeof(float);

void check(bool success) {
  if (success) return;
  std::fprintf(stderr, "a call failed\n");
  std::exit(2);
}

void check(cudaError_t error) { check(error == cudaSuccess); }

void expect(bool right) {
  if (right) return;
  std::fprintf(stderr, "wrong value\n");
  std::exit(3);
}

float* device() {
  void* memory;
  check(cudaMalloc(&memory, kBytes));
  return static_cast<float*>(memory);
}

float* pinned() {
  void* memory;
  check(cudaHostAlloc(&memory, kBytes, cudaHostAllocDefault));
  return static_cast<float*>(memory);
}

struct Stream {
  Stream() { check(cudaStreamCreateWithFlags(&handle, cudaStreamNonBlocking)); }
  void fill(float* to, float value) {
    check(launch("fill", kOneThread, handle, [to, value] {
      for (int i = 0; i < kSize; ++i) to[i] = value;
    }));
  }
  // Runs longer than most work of the other stream.
  void fill_slowly(float* to, float value) {
    for (int round = 0; round < 8; ++round) fill(to, value);
  }
  void add_one(float* to, const float* from) {
    check(launch("add_one", kOneThread, handle, [to, from] {
      for (int i = 0; i < kSize; ++i) to[i] = from[i] + 1;
    }));
  }
  void copy(float* to, const float* from) {
    check(cudaMemcpyAsync(to, from, kBytes, cudaMemcpyDefault, handle));
  }
  void wait() { check(cudaStreamSynchronize(handle)); }

  cudaStream_t handle;
};

struct Event {
  Event() { check(cudaEventCreateWithFlags(&handle, cudaEventDisableTiming)); }
  void order(const Stream& first, const Stream& second) {
    check(cudaEventRecord(handle, first.handle));
    check(cudaStreamWaitEvent(second.handle, handle, 0));
  }

  cudaEvent_t handle;
};

struct Blas {
  explicit Blas(const Stream& stream) {
    check(cublasCreate(&handle) == CUBLAS_STATUS_SUCCESS);
    check(cublasSetStream(handle, stream.handle) == CUBLAS_STATUS_SUCCESS);
  }
  void use(float* workspace) {
    check(cublasSetWorkspace(handle, workspace, kBytes) ==
          CUBLAS_STATUS_SUCCESS);
  }
  void square(float* to, const float* from, int n) {
    const float one = 1, zero = 0;
    check(cublasGemmEx(handle, CUBLAS_OP_N, CUBLAS_OP_N, n, n, n, &one, from,
                       CUDA_R_32F, n, from, CUDA_R_32F, n, &zero, to,
                       CUDA_R_32F, n, CUBLAS_COMPUTE_32F,
                       CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_SUCCESS);
  }

  cublasHandle_t handle;
};

// Two streams hand buffers over, the host reads and writes pinned memory, and
// memory comes and goes in stream order.
void correct() {
  Stream main, side;
  Event event;
  Blas blas(main), blas_side(side);
  float *values = device(), *host = pinned();
  blas.use(device());
  blas_side.use(device());
  for (int round = 0; round < 20; ++round) {
    void* memory;
    check(cudaMallocAsync(&memory, kBytes, main.handle));
    float* brief = static_cast<float*>(memory);
    for (int i = 0; i < kSize; ++i) host[i] = round;
    main.copy(values, host);
    main.add_one(brief, values);
    event.order(main, side);
    side.add_one(values, brief);
    blas_side.square(brief, values, 10);
    event.order(side, main);
    blas.square(values + 500, values, 10);
    check(cudaFreeAsync(brief, main.handle));
    main.copy(host, values);
    main.wait();
    expect(host[0] == round + 2 &&
           host[500] == 10.f * (round + 2) * (round + 2));
  }
  check(cudaFree(values));
  check(cudaFreeHost(host));
}

void missing_event_wait() {
  Stream main, side;
  float *values = device(), *host = pinned();
  main.fill(values, 0);
  main.wait();
  main.fill_slowly(values, 1);
  side.copy(host, values);
  side.wait();
  expect(host[0] == 1);
}

// The buffer's next contents come while the other stream reads the last ones.
void missing_reverse_wait() {
  Stream main, side;
  Event event;
  float *values = device(), *result = device(), *host = pinned();
  main.fill(values, 0);
  event.order(main, side);
  for (int round = 0; round < 8; ++round) side.add_one(result, values);
  main.fill(values, 1);
  side.copy(host, result);
  side.wait();
  expect(host[0] == 1);
}

void record_before_the_work() {
  Stream main, side;
  Event event;
  float *values = device(), *host = pinned();
  main.fill(values, 0);
  check(cudaEventRecord(event.handle, main.handle));
  main.fill_slowly(values, 1);
  check(cudaStreamWaitEvent(side.handle, event.handle, 0));
  side.copy(host, values);
  side.wait();
  expect(host[0] == 1);
}

void host_read_without_wait() {
  Stream main;
  float *values = device(), *host = pinned();
  main.fill_slowly(values, 1);
  main.copy(host, values);
  expect(host[0] == 1);
}

// The host enqueues again in between, which gives no order.
void host_read_after_enqueue() {
  Stream main, side;
  Event event;
  float *values = device(), *host = pinned();
  main.fill_slowly(values, 1);
  main.copy(host, values);
  main.fill(values, 2);
  event.order(side, main);
  side.wait();
  expect(host[0] == 1);
}

void host_write_without_wait() {
  Stream main;
  float *values = device(), *host = pinned(), *result = pinned();
  std::memset(host, 0, kBytes);
  main.fill_slowly(values, 1);
  main.copy(values, host);
  host[kSize - 1] = 2;
  main.copy(result, values);
  main.wait();
  expect(result[kSize - 1] == 0);
}

void allocated_on_another_stream() {
  Stream main, side;
  float* host = pinned();
  void* memory;
  main.fill_slowly(device(), 0);
  check(cudaMallocAsync(&memory, kBytes, main.handle));
  float* values = static_cast<float*>(memory);
  side.fill(values, 1);
  main.wait();
  side.copy(host, values);
  side.wait();
  expect(host[0] == 1);
}

void freed_while_another_stream_reads() {
  Stream main, side;
  Event event;
  float *values = device(), *result = device(), *host = pinned();
  main.fill(values, 0);
  event.order(main, side);
  for (int round = 0; round < 8; ++round) side.add_one(result, values);
  check(cudaFreeAsync(values, main.handle));
  side.copy(host, result);
  side.wait();
  expect(host[0] == 1);
}

void pinned_memory_freed_before_the_copy() {
  Stream main;
  float *values = device(), *host = pinned(), *result = pinned();
  for (int i = 0; i < kSize; ++i) host[i] = 1;
  main.fill_slowly(values, 0);
  main.copy(values, host);
  check(cudaFreeHost(host));
  main.copy(result, values);
  main.wait();
  expect(result[0] == 1);
}

void workspace_of_two_streams() {
  Stream main, side;
  Blas first(main), second(side);
  float *values = device(), *a = device(), *b = device(), *shared = device();
  main.fill(values, 0);
  main.wait();
  first.use(shared);
  second.use(shared);
  first.square(a, values, 8);
  second.square(b, values, 8);
  check(cudaDeviceSynchronize());
}

void used_after_free() {
  Stream main;
  float *values = device(), *result = device(), *host = pinned();
  main.fill(values, 1);
  check(cudaFreeAsync(values, main.handle));
  main.add_one(result, values);
  main.copy(host, result);
  main.wait();
  expect(host[0] == 2);
}

void read_before_it_is_written() {
  Stream main;
  float *values = device(), *host = pinned();
  main.copy(host, values);
  main.wait();
  expect(host[0] == 0);
}

void written_beyond_the_end() {
  Stream main;
  float* values = device();
  main.fill(values + 1, 1);
  main.wait();
}

void read_by_the_host() {
  Stream main;
  float* values = device();
  main.fill(values, 1);
  main.wait();
  expect(*const_cast<volatile float*>(values) == 0);
}

constexpr const char* kRace = "ThreadSanitizer: data race";
constexpr const char* kFreed = "AddressSanitizer: heap-use-after-free";
constexpr const char* kPoisoned = "AddressSanitizer: use-after-poison";
constexpr const char* kBeyond = "AddressSanitizer: heap-buffer-overflow";
constexpr const char* kWrong = "wrong value";
constexpr const char* kSegfault = "status 139";
constexpr const char* kSilent = "^status 0$";

// What each build must report; null: it can't see the error.
struct Program {
  const char* name;
  void (*run)();
  const char *mode, *plain, *asan, *tsan;
};

constexpr Program kPrograms[] = {
    {"correct", correct, "inline", kSilent, kSilent, kSilent},
    {"correct", correct, "protected", kSilent, kSilent, kSilent},
    {"correct", correct, "threads", kSilent, kSilent, kSilent},
    {"missing_event_wait", missing_event_wait, "threads", kWrong, nullptr,
     kRace},
    {"missing_reverse_wait", missing_reverse_wait, "threads", kWrong, nullptr,
     kRace},
    {"record_before_the_work", record_before_the_work, "threads", kWrong,
     nullptr, kRace},
    {"host_read_without_wait", host_read_without_wait, "threads", kWrong,
     nullptr, kRace},
    {"host_read_after_enqueue", host_read_after_enqueue, "threads", kWrong,
     nullptr, kRace},
    {"host_write_without_wait", host_write_without_wait, "threads", kWrong,
     nullptr, kRace},
    {"allocated_on_another_stream", allocated_on_another_stream, "threads",
     kWrong, nullptr, kRace},
    {"freed_while_another_stream_reads", freed_while_another_stream_reads,
     "threads", kWrong, kFreed, kRace},
    {"pinned_memory_freed_before_the_copy", pinned_memory_freed_before_the_copy,
     "threads", kWrong, kFreed, kRace},
    {"workspace_of_two_streams", workspace_of_two_streams, "threads", nullptr,
     nullptr, kRace},
    {"used_after_free", used_after_free, "inline", kWrong, kFreed, nullptr},
    {"used_after_free", used_after_free, "protected", kWrong, kPoisoned,
     nullptr},
    {"used_after_free", used_after_free, "threads", kWrong, kFreed, nullptr},
    {"read_before_it_is_written", read_before_it_is_written, "inline", kWrong,
     kWrong, kWrong},
    {"written_beyond_the_end", written_beyond_the_end, "inline", nullptr,
     kBeyond, nullptr},
    {"written_beyond_the_end", written_beyond_the_end, "protected", nullptr,
     kPoisoned, nullptr},
    {"read_by_the_host", read_by_the_host, "protected", kSegfault,
     "AddressSanitizer: SEGV", "ThreadSanitizer: SEGV"},
};

#if defined(TIMEPIPE_HOSTCUDA_TSAN)
constexpr auto kThisBuild = &Program::tsan;
#elif defined(TIMEPIPE_HOSTCUDA_ASAN)
constexpr auto kThisBuild = &Program::asan;
#else
constexpr auto kThisBuild = &Program::plain;
#endif

}  // namespace

int main(int num_arguments, char** arguments) {
  if (num_arguments == 1) {
    for (const Program& program : kPrograms) {
      const char* report = program.*kThisBuild;
      if (report == nullptr) continue;
      std::printf("%s\t%s\t%s\n", program.name, program.mode, report);
    }
    return 0;
  }
  for (const Program& program : kPrograms) {
    if (std::string(arguments[1]) != program.name) continue;
    program.run();
    return 0;
  }
  std::fprintf(stderr, "there is no program %s\n", arguments[1]);
  return 1;
}
