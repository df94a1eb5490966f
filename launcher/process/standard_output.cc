#include "launcher/process/standard_output.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "runtime/error.h"

namespace timepipe {

void write_output(std::string_view text) {
  errno = 0;
  const std::size_t written = std::fwrite(text.data(), 1, text.size(), stdout);
  const bool flushed = std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
  if (written == text.size() && flushed) return;
  if (errno == EPIPE) throw OutputClosed("standard output: closed");
  throw IoError(std::string("standard output: ") +
                std::strerror(errno == 0 ? EIO : errno));
}

}  // namespace timepipe
