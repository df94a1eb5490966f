#pragma once

#include <cstdint>

namespace timepipe {

// What a launcher (mpirun, srun) says in the environment of this process.
struct Launched {
  const char* variable = "";  // that says how many; empty: no launcher
  int64_t processes = 1;      // of the job
  int64_t rank = 0;           // of this one
  int64_t on_host = 1;        // of them, on this host; 1: not told
  // Said to a batch script: whatever started this process, it is alone.
  bool batch_script = false;

  // Whether mpirun or srun started this process; not a shell of salloc.
  bool by_launcher() const { return *variable != '\0' && !batch_script; }
};

Launched launched();

}  // namespace timepipe
