// Preloaded: a file system without locks, or whose folders can't be synced.
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

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
