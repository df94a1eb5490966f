#pragma once

#include <string>

namespace timepipe {

// From here on this rank keeps RUN_DIR/logs/rank-00000.log, a file of glog's
// that a resumed run appends to; what goes to stdout and stderr stays as it is.
// A run needs no log: one that can't be made or written ends none. Says so if
// there can't be a file.
void start_rank_log(const std::string& run_dir, int rank);

// A line of that file alone; nothing if there is none.
void log_line(const std::string& text);

// "timepipe: TEXT" on stderr, in one write so that the lines of several ranks
// don't mix, and in the file.
void tell(const std::string& text);

// "host node7, pid 4711, 2 threads"
std::string describe_process();

}  // namespace timepipe
