#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace hostcuda {

// Where the work of a stream runs.
enum class StreamMode {
  kInline,     // In the caller, when it is enqueued.
  kProtected,  // The same; the host can't touch device memory meanwhile.
  kThreads,    // One OS thread for each stream, with random delays.
};

// What the environment says: TIMEPIPE_HOSTCUDA_ and the name in brackets.
struct Settings {
  StreamMode streams = StreamMode::kInline;    // [STREAMS]
  int64_t seed = 0;                            // [SEED] Schedules, delays.
  std::size_t memory = std::size_t{64} << 30;  // [MEMORY] Bytes a device.
  int devices = 1;                             // [DEVICES]
  int capability = 90;                         // [CAPABILITY] 90 is 9.0.
  int driver = 13000;                          // [DRIVER] 13000 is 13.0.
  std::string launches;                        // [LAUNCHES] A file or none.
};

// Read once; a value that can't be read ends the program with a line.
const Settings& settings();

// Reads the environment again, for tests: not while other threads are in the
// layer, nor while there are streams.
void reload_settings();

inline int64_t seed() { return settings().seed; }

}  // namespace hostcuda
