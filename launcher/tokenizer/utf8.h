#pragma once

#include <cstddef>
#include <string_view>

namespace timepipe {

// Bytes of the longest front part that is whole characters of UTF-8 (RFC 3629:
// no surrogates, no overlong forms, nothing beyond U+10FFFF).
std::size_t valid_utf8_bytes(std::string_view text);

}  // namespace timepipe
