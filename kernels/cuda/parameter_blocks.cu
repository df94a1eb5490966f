// Sums of squares and hashes of the blocks of parameters:
// kernels/parameter_blocks.h.

#include "kernels/cuda/parameter_blocks.cuh"
#include "kernels/cuda/reduce.cuh"

namespace timepipe::cuda {
namespace {

constexpr int64_t kBlockElements = 16384;  // ParameterBlock::kElements

struct Block {
  int64_t offset, count;  // elements
};

__device__ Block block_at(ParameterTable parameters, int64_t index) {
  int64_t begin = 0, end = parameters.count;  // begins at or before the block
  while (end - begin > 1) {
    const int64_t middle = begin + (end - begin) / 2;
    (parameters.list[middle].first_block <= index ? begin : end) = middle;
  }
  const ParameterSpan parameter = parameters.list[begin];
  const int64_t before = (index - parameter.first_block) * kBlockElements;
  const int64_t left = parameter.count - before;
  return {parameter.offset + before,
          left < kBlockElements ? left : kBlockElements};
}

// xxHash's XXH64 (Collet 2012, specification 0.2.0) with seed 0: four lanes
// take eight bytes of every 32, the rest follows when they have met.
constexpr uint64_t kPrime1 = 0x9E3779B185EBCA87, kPrime2 = 0xC2B2AE3D27D4EB4F,
                   kPrime3 = 0x165667B19E3779F9, kPrime4 = 0x85EBCA77C2B2AE63,
                   kPrime5 = 0x27D4EB2F165667C5;

__device__ uint64_t turned_left(uint64_t x, int bits) {
  return x << bits | x >> (64 - bits);
}

__device__ uint64_t hash_round(uint64_t lane, uint64_t word) {
  return turned_left(lane + word * kPrime2, 31) * kPrime1;
}

__device__ uint64_t first_of_lane(int lane) {
  return lane == 0   ? kPrime1 + kPrime2
         : lane == 1 ? kPrime2
         : lane == 2 ? 0
                     : 0 - kPrime1;
}

// The lane's words of so many stripes of four.
__device__ uint64_t hash_lane(int lane, const uint64_t* words,
                              int64_t stripes) {
  constexpr int kAhead = 8;  // stripes read before the first is hashed
  uint64_t hash = first_of_lane(lane);
  int64_t s = 0;
  for (; s + kAhead <= stripes; s += kAhead) {
    uint64_t ahead[kAhead];
    TIMEPIPE_UNROLL
    for (int i = 0; i < kAhead; ++i) {
      ahead[i] = words[(s + i) * kHashLanes + lane];
    }
    TIMEPIPE_UNROLL
    for (int i = 0; i < kAhead; ++i) hash = hash_round(hash, ahead[i]);
  }
  for (; s < stripes; ++s) {
    hash = hash_round(hash, words[s * kHashLanes + lane]);
  }
  return hash;
}

__device__ uint64_t lanes_met(const uint64_t (&lanes)[kHashLanes]) {
  uint64_t hash = turned_left(lanes[0], 1) + turned_left(lanes[1], 7) +
                  turned_left(lanes[2], 12) + turned_left(lanes[3], 18);
  for (const uint64_t lane : lanes) {
    hash = (hash ^ hash_round(0, lane)) * kPrime1 + kPrime4;
  }
  return hash;
}

// The last bytes, fewer than a stripe; they begin at a multiple of 8.
__device__ uint64_t hash_rest(uint64_t hash, const unsigned char* bytes,
                              int64_t n) {
  for (; n >= 8; n -= 8, bytes += 8) {
    const uint64_t word = *reinterpret_cast<const uint64_t*>(bytes);
    hash = turned_left(hash ^ hash_round(0, word), 27) * kPrime1 + kPrime4;
  }
  if (n >= 4) {
    const uint64_t word = *reinterpret_cast<const uint32_t*>(bytes);
    hash = turned_left(hash ^ word * kPrime1, 23) * kPrime2 + kPrime3;
    n -= 4, bytes += 4;
  }
  for (; n > 0; --n, ++bytes) {
    hash = turned_left(hash ^ *bytes * kPrime5, 11) * kPrime1;
  }
  hash = (hash ^ hash >> 33) * kPrime2;
  hash = (hash ^ hash >> 29) * kPrime3;
  return hash ^ hash >> 32;
}

}  // namespace

// Element i in the sum of thread i % kSquareThreads, then theirs.
template <class T>
__global__ void block_square_sums_kernel(ParameterTable parameters,
                                         int64_t first, const T* shard,
                                         int64_t begin, double* sums) {
  TIMEPIPE_SHARED(double, shared, kSquareThreads / kWarp);
  const Block block = block_at(parameters, first + blockIdx.x);
  const T* x = shard + block.offset - begin;
  double sum = 0;
  for (int64_t i = threadIdx.x; i < block.count; i += kSquareThreads) {
    const double value = x[i];
    sum += value * value;
  }
  sum = block_sum<kSquareThreads>(sum, shared);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

__global__ void block_hashes_kernel(ParameterTable parameters, int64_t first,
                                    int64_t n, const unsigned char* bytes,
                                    int64_t element_bytes, uint64_t* hashes) {
  constexpr int64_t kStripe = kHashLanes * sizeof(uint64_t);
  const int64_t b = global_thread() / kHashLanes;
  const auto lane = static_cast<int>(threadIdx.x % kHashLanes);
  // All threads meet, those behind the last block too.
  const Block block = b < n ? block_at(parameters, first + b) : Block{0, 0};
  bytes += block.offset * element_bytes;
  const int64_t size = block.count * element_bytes, stripes = size / kStripe;
  const auto* words = reinterpret_cast<const uint64_t*>(bytes);
  const auto mine = static_cast<int64_t>(hash_lane(lane, words, stripes));
  uint64_t lanes[kHashLanes];
  for (int i = 0; i < kHashLanes; ++i) {
    const auto from = static_cast<int>(threadIdx.x) % kWarp - lane + i;
    lanes[i] = static_cast<uint64_t>(__shfl_sync(kWholeWarp, mine, from));
  }
  if (b >= n || lane > 0) return;
  const uint64_t met = stripes > 0 ? lanes_met(lanes) : kPrime5;
  hashes[b] = hash_rest(met + static_cast<uint64_t>(size),
                        bytes + stripes * kStripe, size - stripes * kStripe);
}

template __global__ void block_square_sums_kernel(ParameterTable, int64_t,
                                                  const float*, int64_t,
                                                  double*);
template __global__ void block_square_sums_kernel(ParameterTable, int64_t,
                                                  const double*, int64_t,
                                                  double*);

}  // namespace timepipe::cuda
