#pragma once

#include <fcntl.h>
#include <unistd.h>

namespace timepipe {

// Opens those of the file descriptors 0, 1 and 2 that are closed, on /dev/null.
// The next file that is opened would be given their number, and have what is
// printed written into it. First in main().
inline void open_closed_streams() {
  int opened = 0;
  do {
    opened = ::open("/dev/null", O_RDWR);
  } while (0 <= opened && opened <= STDERR_FILENO);
  if (opened > STDERR_FILENO) ::close(opened);
}

}  // namespace timepipe
