// Whether a device's tensor cores, ldmatrix and cp.async do what the kernels
// and the tests' layer on the CPU take for granted:
//   gpu_fragments FILE    writes what was found as JSON; status 1: something
//                         differs
// Operands go through kernels/cuda/mma.h as they do in every kernel.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <fstream>
#include <map>
#include <random>
#include <span>
#include <sstream>
#include <string>
#include <vector>

#include "kernels/cuda/launch.h"
#include "runtime/transfer.h"
#include "tests/hostcuda/accumulator.h"
#include "tests/hostcuda/mma_kernels.cuh"

namespace timepipe::cuda {
namespace {

// What the layer takes for true of the accumulator (hostcuda/mma.h): bits below
// the largest addend, and how many products are added at once.
constexpr int kFraction = 25;
template <class A>
constexpr int kDepth = std::is_same_v<A, bf16> ? 16 : 8;  // K of one mma

struct Problem {
  std::vector<float> a, b, c;  // [16, K], [K, 8], [16, 8]
};

template <class T, class A>
Tensor to_device(Context& ctx, const std::vector<A>& values, DType dtype) {
  HostArray x({std::ssize(values)}, dtype);
  std::ranges::transform(values, x.values<T>().begin(),
                         [](A v) { return static_cast<T>(v); });
  return upload(ctx, x);
}

// C = c + A B by one mma of the device.
template <class A>
std::vector<float> multiply(Context& ctx, const Problem& p) {
  const DType dtype = dtype_of<A>();
  const Tensor a = to_device<A>(ctx, p.a, dtype);
  const Tensor b = to_device<A>(ctx, p.b, dtype);
  Tensor c = to_device<float>(ctx, p.c, DType::kF32);
  if constexpr (std::is_same_v<A, bf16>) {
    launch<&multiply_bf16>(ctx, 1, 32, device_elements<float>(c),
                           device_elements<bf16>(a), device_elements<bf16>(b));
  } else {
    launch<&multiply_tf32>(ctx, 1, 32, device_elements<float>(c),
                           device_elements<float>(a),
                           device_elements<float>(b));
  }
  std::vector<float> result(16 * 8);
  download<float>(ctx, c, result);
  return result;
}

// The same as a model of the accumulator has it: `group` products at once.
float modelled(const Problem& p, int K, int m, int n, int fraction, int group) {
  float c = p.c[8 * m + n];
  for (int k = 0; k < K; k += group) {
    std::vector<float> a, b;
    for (int i = k; i < k + group; ++i) {
      a.push_back(p.a[K * m + i]);
      b.push_back(p.b[8 * i + n]);
    }
    c = accumulate(c, a, b, fraction);
  }
  return c;
}

class Findings {
 public:
  void put(const std::string& key, const std::string& json) {
    text_ += (text_.empty() ? "{\n" : ",\n") + ("  \"" + key + "\": " + json);
    std::printf("%s %s\n", key.c_str(), json.c_str());
  }
  void put(const std::string& key, double number) {
    std::ostringstream text;
    text << number;
    put(key, text.str());
  }
  // What has to be zero.
  void count(const std::string& key, int wrong) {
    put(key, wrong);
    agrees_ = agrees_ && wrong == 0;
  }
  void require(const std::string& key, bool holds) {
    put(key, holds ? "true" : "false");
    agrees_ = agrees_ && holds;
  }
  bool agrees() const { return agrees_; }
  std::string json() const { return text_ + "\n}\n"; }

 private:
  std::string text_;
  bool agrees_ = true;
};

// Small integers, which every order of addition gets right: a wrong result is
// an element in another place.
template <class A>
void find_places(Context& ctx, const std::string& name, Findings& found) {
  constexpr int K = kDepth<A>;
  std::mt19937 random(5);
  int wrong = 0;
  for (int round = 0; round < 16; ++round) {
    const auto small = [&] { return static_cast<float>(random() % 15) - 7; };
    Problem p{std::vector<float>(16 * K), std::vector<float>(K * 8),
              std::vector<float>(16 * 8)};
    for (auto* matrix : {&p.a, &p.b, &p.c}) {
      std::ranges::generate(*matrix, small);
    }
    const std::vector<float> C = multiply<A>(ctx, p);
    for (int m = 0; m < 16; ++m) {
      for (int n = 0; n < 8; ++n) {
        float expected = p.c[8 * m + n];
        for (int k = 0; k < K; ++k) expected += p.a[K * m + k] * p.b[8 * k + n];
        wrong += C[8 * m + n] != expected;
      }
    }
  }
  found.count(name + " elements in other places", wrong);
}

// Numbers of many sizes, against models of the accumulator.
template <class A>
void find_rounding(Context& ctx, const std::string& name, Findings& found) {
  constexpr int K = kDepth<A>, kRounds = 48;
  std::mt19937 random(7);
  const auto number = [&](int exponents) {
    const auto x = static_cast<float>(random() % 2000001) / 1e6f - 1;
    const float sized = std::ldexp(
        x, -static_cast<int>(random() % static_cast<unsigned>(exponents)));
    // Of bf16 and of TF32: what both can hold.
    return static_cast<float>(static_cast<bf16>(sized));
  };
  std::map<std::pair<int, int>, int> same;  // by fraction and group
  for (int round = 0; round < kRounds; ++round) {
    Problem p{std::vector<float>(16 * K), std::vector<float>(K * 8),
              std::vector<float>(16 * 8)};
    for (float& x : p.a) x = number(8);
    for (float& x : p.b) x = number(8);
    for (float& x : p.c) x = number(4) * 1.0009766f;
    const std::vector<float> C = multiply<A>(ctx, p);
    for (int fraction = 22; fraction <= 27; ++fraction) {
      for (int group = 4; group <= K; group *= 2) {
        int& count = same[{fraction, group}];
        for (int i = 0; i < 16 * 8; ++i) {
          const float expected = modelled(p, K, i / 8, i % 8, fraction, group);
          count += std::bit_cast<uint32_t>(expected) ==
                   std::bit_cast<uint32_t>(C[i]);
        }
      }
    }
  }
  std::string shares;
  for (const auto& [model, count] : same) {
    std::ostringstream one;
    one << (shares.empty() ? "{" : ", ") << '"' << model.first << " bits, "
        << model.second << " at once\": " << count / (kRounds * 128.);
    shares += one.str();
  }
  found.put(name + " sums with the bits of each model", shares + "}");
  found.require(name + " rounds as the layer does",
                same[{kFraction, K}] == kRounds * 128);
}

// One and a half halves of the last bit of 1: cut off, or rounded up.
template <class A>
void find_truncation(Context& ctx, const std::string& name, Findings& found) {
  constexpr int K = kDepth<A>;
  Problem p{std::vector<float>(16 * K), std::vector<float>(K * 8),
            std::vector<float>(16 * 8, 1)};
  for (int m = 0; m < 16; ++m) p.a[K * m] = 1.5f * 0x1p-24f;
  for (int n = 0; n < 8; ++n) p.b[n] = 1;
  const std::vector<float> C = multiply<A>(ctx, p);
  found.require(name + " truncates",
                std::ranges::all_of(C, [](float c) { return c == 1; }));
}

void find_loads(Context& ctx, Findings& found) {
  std::vector<float> elements(4 * 8 * 8);  // exact in bf16
  for (std::size_t i = 0; i < elements.size(); ++i) {
    elements[i] = static_cast<float>(i);
  }
  const Tensor matrices = to_device<bf16>(ctx, elements, DType::kBF16);
  for (const bool transposes : {false, true}) {
    // Words of 32 bits; tensors have none of integers, f32 has their size.
    Tensor words = ctx.zeros({32 * 4}, DType::kF32);
    launch<&load>(ctx, 1, 32,
                  reinterpret_cast<uint32_t*>(device_elements<float>(words)),
                  device_elements<bf16>(matrices), transposes);
    std::vector<float> out(32 * 4);
    download<float>(ctx, words, out);
    int wrong = 0;
    for (int i = 0; i < 32 * 4; ++i) {
      const int lane = i / 4, matrix = i % 4;
      const int g = lane / 4, t = lane % 4;
      const auto bits = [&](int column) {
        const int at = transposes ? 8 * column + g : 8 * g + column;
        return uint32_t{static_cast<bf16>(elements[64 * matrix + at]).bits};
      };
      wrong += std::bit_cast<uint32_t>(out[i]) !=
               (bits(2 * t) | bits(2 * t + 1) << 16);
    }
    found.count(transposes ? "ldmatrix.trans wrong" : "ldmatrix wrong", wrong);
  }
}

void find_copies(Context& ctx, Findings& found) {
  std::vector<double> numbers(6);  // 48 bytes
  std::vector<unsigned char> bytes(48);
  for (int i = 0; i < 48; ++i) bytes[i] = static_cast<unsigned char>(i + 1);
  std::copy(bytes.begin(), bytes.end(),
            reinterpret_cast<unsigned char*>(numbers.data()));
  const Tensor from = to_device<double>(ctx, numbers, DType::kF64);
  for (const bool is_there : {true, false}) {
    Tensor to = ctx.zeros({12}, DType::kF64);
    launch<&copy_in_groups>(
        ctx, 1, 1,
        reinterpret_cast<unsigned char*>(device_elements<double>(to)),
        reinterpret_cast<const unsigned char*>(device_elements<double>(from)),
        is_there);
    std::vector<double> out(12);
    download<double>(ctx, to, out);
    const auto* got = reinterpret_cast<const unsigned char*>(out.data());
    int wrong = 0;
    // After the first wait the third copy may be on its way still.
    for (int i = 0; i < 32; ++i) wrong += got[i] != (is_there ? bytes[i] : 0);
    for (int i = 0; i < 48; ++i) {
      wrong += got[48 + i] != (is_there ? bytes[i] : 0);
    }
    found.count(is_there ? "cp.async wrong bytes" : "cp.async wrong zeros",
                wrong);
  }
}

int run(const char* path) {
  Context ctx(Device{Device::Kind::kCuda});
  Findings found;
  find_places<bf16>(ctx, "bf16", found);
  find_places<float>(ctx, "tf32", found);
  find_loads(ctx, found);
  find_copies(ctx, found);
  find_truncation<bf16>(ctx, "bf16", found);
  find_truncation<float>(ctx, "tf32", found);
  find_rounding<bf16>(ctx, "bf16", found);
  find_rounding<float>(ctx, "tf32", found);
  std::ofstream file(path);
  file << found.json();
  file.close();
  if (!file) throw IoError(std::string(path) + ": cannot be written");
  return found.agrees() ? 0 : 1;
}

}  // namespace
}  // namespace timepipe::cuda

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: gpu_fragments FILE\n", stderr);
    return 2;
  }
  try {
    return timepipe::cuda::run(argv[1]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "gpu_fragments: %s\n", error.what());
    return 1;
  }
}
