// Preloaded: a file system without locks, or whose folders can't be synced, or
// that has no room for metrics.jsonl for a while.
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// The error that the environment names, if any.
static int wanted(const char* name) {
  const char* number = getenv(name);
  return number == NULL ? 0 : atoi(number);
}

int flock(int fd, int operation) {
  errno = wanted("NO_LOCKS");
  if (errno != 0) return -1;
  return ((int (*)(int, int))dlsym(RTLD_NEXT, "flock"))(fd, operation);
}

int fsync(int fd) {
  struct stat status;
  const int error = wanted("NO_FOLDER_SYNC");
  if (error != 0 && fstat(fd, &status) == 0 && S_ISDIR(status.st_mode)) {
    errno = error;
    return -1;
  }
  return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd);
}

static int is_metrics(int fd) {
  char link[64], path[4096] = "";
  snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
  return readlink(link, path, sizeof(path) - 1) > 0 &&
         strstr(path, "/metrics.jsonl") != NULL;
}

// Writes number FULL_FROM to FULL_TO of metrics.jsonl find a full disk, the
// first of them when half of it is written.
ssize_t pwrite(int fd, const void* bytes, size_t count, off_t offset) {
  static int writes = 0;
  const int from = wanted("FULL_FROM");
  if (from > 0 && is_metrics(fd)) {
    ++writes;
    if (writes == from) {
      count /= 2;
    } else if (writes > from && writes <= wanted("FULL_TO")) {
      errno = ENOSPC;
      return -1;
    }
  }
  return ((ssize_t(*)(int, const void*, size_t, off_t))dlsym(
      RTLD_NEXT, "pwrite"))(fd, bytes, count, offset);
}
