#pragma once

#include <sstream>
#include <string>

#include "runtime/error.h"

namespace timepipe {

// Throws InvalidArgument("name: value, expected allowed") unless `condition`
// holds.
template <class T>
void expect(bool condition, const char* name, const T& value,
            const std::string& allowed) {
  if (condition) return;
  std::ostringstream text;
  text << name << ": " << value << ", expected " << allowed;
  throw InvalidArgument(text.str());
}

}  // namespace timepipe
