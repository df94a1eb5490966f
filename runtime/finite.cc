// Looks for numbers that aren't finite, and names the first.

#include "runtime/finite.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <sstream>

#include "runtime/parallel_for.h"

namespace timepipe {
namespace {

constexpr int64_t kPiece = 1 << 16;  // elements that a thread counts at once

int64_t count_not_finite(const Tensor& tensor) {
  std::atomic<int64_t> count = 0;
  dispatch(tensor.dtype(), [&](auto zero) {
    const auto* v = tensor.data<decltype(zero)>();
    parallel_pieces(tensor.numel(), kPiece, [&](int64_t begin, int64_t end) {
      count += std::count_if(v + begin, v + end,
                             [](auto x) { return !std::isfinite(x); });
    });
  });
  return count;
}

double value_at(const Tensor& tensor, int64_t i) {
  return tensor.dtype() == DType::kF64 ? tensor.data<double>()[i]
                                       : double{tensor.data<float>()[i]};
}

Shape place_in(const Shape& shape, int64_t i) {
  Shape place(shape.size());
  for (std::size_t d = shape.size(); d-- > 0; i /= shape[d]) {
    place[d] = i % shape[d];
  }
  return place;
}

// Of `tensor`, converted from `from`; the error shows the number in `from`.
void require_finite(const std::string& name, const Tensor& tensor,
                    const Tensor& from) {
  const int64_t count = count_not_finite(tensor);
  if (count == 0) return;
  int64_t first = 0;
  while (std::isfinite(value_at(tensor, first))) ++first;
  const double value = value_at(from, first);
  std::ostringstream text;
  text << name << ": " << count << " of " << tensor.numel()
       << " numbers aren't finite"
       << (std::isfinite(value) ? std::string(" as ") + name_of(tensor.dtype())
                                : "")
       << ", the first at " << to_string(place_in(from.shape(), first)) << ": "
       << value;
  throw InvalidArgument(text.str());
}

}  // namespace

void require_finite(const std::string& name, const Tensor& tensor) {
  require_finite(name, tensor, tensor);
}

void convert_finite(const std::string& name, const Tensor& from, Tensor to) {
  convert(from, to);
  require_finite(name, to, from);
}

}  // namespace timepipe
