#pragma once

#include <string>
#include <vector>

namespace timepipe {

// The files that an entry of data.train or eval.data stands for: the one of
// that name, or those that match it as a shell's pattern (*, ?, [...]), in the
// order of their bytes. Throws IoError naming a folder that can't be read,
// InvalidArgument naming field and pattern if none
// does.
std::vector<std::string> files_of(const std::string& field,
                                  const std::string& entry);

}  // namespace timepipe
