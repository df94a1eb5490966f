// Kernels with one error each that a sanitizer finds, and correct ones. Without
// an argument: a line for each that this build can see, "name <tab> grain <tab>
// what it must report"; planted.sh runs them all. The grain is
// ThreadSanitizer's (TIMEPIPE_HOSTCUDA_GRAIN): which threads of a kernel it
// tells apart.

#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "tests/hostcuda/block_kernels.cuh"
#include "tests/hostcuda/mma_kernels.cuh"
#include "tests/hostcuda/planted_kernels.cuh"
#include "tests/hostcuda/run.h"
#include "tests/hostcuda/sample_kernels.cuh"

#if defined(__SANITIZE_THREAD__)
#define TIMEPIPE_PLANTED_TSAN 1
#elif defined(__SANITIZE_ADDRESS__)
#define TIMEPIPE_PLANTED_ASAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TIMEPIPE_PLANTED_TSAN 1
#elif __has_feature(address_sanitizer)
#define TIMEPIPE_PLANTED_ASAN 1
#endif
#endif

namespace {

using namespace timepipe::cuda;  // NOLINT: all kernels that this is about
using timepipe::bf16;

constexpr unsigned kBlocks = 3, kThreads = 128, kAll = kBlocks * kThreads;

template <class Kernel, class... A>
void run_seed_0(Kernel kernel, A... arguments) {
  run(0, kBlocks, kThreads, kThreads * sizeof(float), kernel, arguments...);
}

template <void (*kKernel)(float*, const float*)>
void each_element() {
  std::vector<float> out(kAll), in(kAll, 1.f);
  run_seed_0(kKernel, out.data(), in.data());
}

void blocks_add() {
  int sum = 0;
  run_seed_0(blocks_add_without_atomic, &sum);
}

template <GemmDefect kDefect>
void product() {
  constexpr int M = 45, N = 72, K = 96;
  const std::vector<bf16> A(M * K, bf16(1.f)), B(K * N, bf16(2.f));
  std::vector<float> C(M * N, NAN);
  for (int64_t seed : kSeeds) {
    run(seed, 6, 128, 0, gemm<kDefect>, C.data(), A.data(), B.data(), M, N, K);
  }
}

void correct() {
  std::vector<float> out(4 * kAll), in(kAll, 1.f);
  std::vector<int> numbers(kAll);
  int wrong = 0;
  unsigned long long count = 0;
  for (int64_t seed : kSeeds) {
    run(seed, kBlocks, kThreads, 0, no_barrier_after_write<false>, out.data(),
        in.data());
    run(seed, kBlocks, kThreads, 0, no_barrier_before_reuse<false>, out.data(),
        in.data());
    run(seed, kBlocks, kThreads, 0, no_warp_barrier<false>, out.data(),
        in.data());
    run(seed, 3, 128, 100 * sizeof(float), rms_norm, out.data(), in.data(),
        100);
    run(seed, 3, 96, 0, count_at_barriers, &wrong, 3);
    run(seed, 1, 64, 0, pass_through_shared, numbers.data(), 3);
    run(seed, 1, 32, 0, shuffle_in_halves, numbers.data());
    run(seed, 1, 64, 0, reduce<float>, out.data(), in.data());
    // Last what reads all that kernels before it wrote.
    run(seed, 2, 256, 0, grid_sum, in.data(), &count, out.data(), kAll);
  }
  product<GemmDefect::kNone>();
}

constexpr char kSilent[] = "^status 0$";
constexpr char kPoison[] = "AddressSanitizer: use-after-poison";
constexpr char kOverflow[] = "AddressSanitizer: heap-buffer-overflow";
constexpr char kRace[] = "ThreadSanitizer: data race";

struct Program {
  const char* name;  // Reports name the kernel, as this does, and its source.
  void (*run)();
  const char* grain;
  // What each build reports; null: it isn't for that build. planted_block_test
  // has the errors that are seen without a sanitizer.
  const char* plain;
  const char* asan;
  const char* tsan;
};

#define TIMEPIPE_PLANTED(kernel) #kernel, each_element < kernel>

constexpr Program kPrograms[] = {
    {"correct", correct, "warp", kSilent, kSilent, kSilent},
    {"correct", correct, "thread", nullptr, nullptr, kSilent},
    {TIMEPIPE_PLANTED(no_barrier_after_write<true>), "warp", nullptr, nullptr,
     kRace},
    {TIMEPIPE_PLANTED(no_barrier_before_reuse<true>), "warp", nullptr, nullptr,
     kRace},
    {TIMEPIPE_PLANTED(no_warp_barrier<true>), "thread", nullptr, nullptr,
     kRace},
    {TIMEPIPE_PLANTED(blocks_write_one_place), "warp", nullptr, nullptr, kRace},
    {"blocks_add_without_atomic", blocks_add, "warp", nullptr, nullptr, kRace},
    {"gemm<GemmDefect::kNoBarrierAtLoopEnd>",
     product<GemmDefect::kNoBarrierAtLoopEnd>, "warp", nullptr, nullptr, kRace},
    {TIMEPIPE_PLANTED(write_past_static), "warp", nullptr, kPoison, nullptr},
    {TIMEPIPE_PLANTED(read_past_static), "warp", nullptr, kPoison, nullptr},
    {TIMEPIPE_PLANTED(write_past_dynamic), "warp", nullptr, kPoison, nullptr},
    {TIMEPIPE_PLANTED(read_past_dynamic), "warp", nullptr, kPoison, nullptr},
    {TIMEPIPE_PLANTED(write_past_global), "warp", nullptr, kOverflow, nullptr},
    {TIMEPIPE_PLANTED(read_past_global), "warp", nullptr, kOverflow, nullptr},
};

#if defined(TIMEPIPE_PLANTED_TSAN)
constexpr auto kThisBuild = &Program::tsan;
#elif defined(TIMEPIPE_PLANTED_ASAN)
constexpr auto kThisBuild = &Program::asan;
#else
constexpr auto kThisBuild = &Program::plain;
#endif

}  // namespace

int main(int num_arguments, char** arguments) {
  for (const Program& program : kPrograms) {
    if (num_arguments > 1) {
      if (std::string(arguments[1]) != program.name) continue;
      program.run();
      return 0;
    }
    if (const char* const report = program.*kThisBuild; report != nullptr) {
      std::printf("%s\t%s\t%s\n", program.name, program.grain, report);
    }
  }
  if (num_arguments == 1) return 0;
  std::fprintf(stderr, "there is no program %s\n", arguments[1]);
  return 2;
}
