#pragma once

#include <stdexcept>
#include <string_view>

namespace timepipe {

// Nobody reads standard output any more. Not worth a line: main() ends with the
// status of a mistake.
class OutputClosed : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Writes and flushes, also what was printed before. Throws OutputClosed, or
// IoError with the reason.
void write_output(std::string_view text);

}  // namespace timepipe
