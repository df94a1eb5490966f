#pragma once

// Errors that a user or a peer can cause (docs/design.md, "Errors"). Broken
// invariants are not here: they are glog CHECKs.

#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace timepipe {

// A mistake from outside: configuration, file contents, arguments of a public
// function. The text names the thing, its value and what was expected.
class InvalidArgument : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A file that can't be read or written; the text names the path.
class IoError : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A peer that did not answer before the deadline; the text names rank, step,
// layer, chunk, peer and the seconds waited.
class Blocked : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Memory that the system doesn't give; the text says what was asked for and
// what is held.
class OutOfMemory : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

using Shape = std::vector<int64_t>;

std::string to_string(const Shape& shape);  // "[4,8]"

namespace internal {

template <class T>
std::string text_of(const T& value) {
  if constexpr (std::is_convertible_v<const T&, std::string_view>) {
    return std::string(std::string_view(value));
  } else {
    using std::to_string;
    using timepipe::to_string;
    return to_string(value);
  }
}

[[noreturn]] void refuse(std::initializer_list<std::string> parts);

template <class... Parts>
[[noreturn, gnu::cold, gnu::noinline]] void refuse_with(const Parts&... parts) {
  refuse({text_of(parts)...});
}

}  // namespace internal

// Throws InvalidArgument unless `condition` holds: its text is that of `parts`
// (strings, numbers, whatever has a to_string), one after the other, which are
// made only then.
template <class... Parts>
void require(bool condition, const Parts&... parts) {
  if (!condition) internal::refuse_with(parts...);
}

class Tensor;

// Throws InvalidArgument("y: shape [4,7], expected [4,8]") unless equal.
void require_shape(const char* name, const Tensor& tensor,
                   const Shape& expected);

// Throws InvalidArgument unless both have one element type.
void require_same_dtype(const char* name, const Tensor& tensor,
                        const Tensor& like);

}  // namespace timepipe
