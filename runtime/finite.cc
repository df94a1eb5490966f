// Looks for numbers that aren't finite, and names the first.

#include "runtime/finite.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <sstream>

#include "runtime/parallel_for.h"
#include "runtime/transfer.h"

namespace timepipe {
namespace {

constexpr int64_t kPiece = 1 << 16;  // elements that a thread counts at once

int64_t count_not_finite(const HostArray& array) {
  std::atomic<int64_t> count = 0;
  dispatch(array.dtype(), [&](auto zero) {
    const auto* v = array.values<decltype(zero)>().data();
    parallel_pieces(array.numel(), kPiece, [&](int64_t begin, int64_t end) {
      count += std::count_if(v + begin, v + end,
                             [](auto x) { return !std::isfinite(x); });
    });
  });
  return count;
}

double value_at(const HostArray& array, int64_t i) {
  return array.dtype() == DType::kF64 ? array.values<double>()[i]
                                      : double{array.values<float>()[i]};
}

Shape place_in(const Shape& shape, int64_t i) {
  Shape place(shape.size());
  for (std::size_t d = shape.size(); d-- > 0; i /= shape[d]) {
    place[d] = i % shape[d];
  }
  return place;
}

// Of `array`, converted from `from`, of this shape; the error shows the number
// in `from`.
void require_finite(const std::string& name, const HostArray& array,
                    const HostArray& from, const Shape& shape) {
  const int64_t count = count_not_finite(array);
  if (count == 0) return;
  int64_t first = 0;
  while (std::isfinite(value_at(array, first))) ++first;
  const double value = value_at(from, first);
  std::ostringstream text;
  text << name << ": " << count << " of " << array.numel()
       << " numbers aren't finite"
       << (std::isfinite(value) ? std::string(" as ") + name_of(array.dtype())
                                : "")
       << ", the first at " << to_string(place_in(shape, first)) << ": "
       << value;
  throw InvalidArgument(text.str());
}

}  // namespace

void require_finite(const std::string& name, const HostArray& array) {
  require_finite(name, array, array, array.shape());
}

HostArray converted_finite(const std::string& name, const HostArray& from,
                           DType dtype) {
  HostArray to = converted(from, dtype);
  require_finite(name, to, from, from.shape());
  return to;
}

void upload_finite(Context& ctx, const std::string& name,
                   const ReadElements& read, const Tensor& to) {
  constexpr int64_t kAtOnce = 1 << 19;  // elements: 4 MiB of f64
  const int64_t numel = to.numel();
  const Tensor flat = to.reshape({numel});
  for (int64_t first = 0; first < numel; first += kAtOnce) {
    const int64_t count = std::min(kAtOnce, numel - first);
    HostArray piece = read(first, count);
    if (piece.dtype() != to.dtype()) piece = converted(piece, to.dtype());
    if (count_not_finite(piece) > 0) {
      const HostArray all = read(0, numel);
      require_finite(name, converted(all, to.dtype()), all, to.shape());
    }
    upload(ctx, piece, flat.slice(first, first + count));
  }
}

}  // namespace timepipe
