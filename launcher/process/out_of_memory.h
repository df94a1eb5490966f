#pragma once

#include <exception>
#include <string>

namespace timepipe {

// What an exception says, in a line. A std::bad_alloc says nothing: then what
// this process holds, and the limit that it is under.
std::string line_of(const std::exception& error);

}  // namespace timepipe
