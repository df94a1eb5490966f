#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "runtime/files.h"
#include "tests/support/temporary_file.h"

namespace timepipe::testing {

// What the authors' program makes of the text as a whole. That reads lines: a
// line feed goes to it as U+0001, like which it is in no piece of a TinyModel;
// or as a space, which it is where the model maps characters.
inline std::vector<int64_t> reference_ids(const std::string& model,
                                          std::string text) {
  const bool maps = read_text(model).find("nmt_nfkc") != std::string::npos;
  std::ranges::replace(text, '\n', maps ? ' ' : '\1');
  const TemporaryFile input(text), output("");
  const std::string command =
      TIMEPIPE_SPM_ENCODE " --output_format=id --model=" + model + " <" +
      input.path() + " >" + output.path();
  EXPECT_EQ(std::system(command.c_str()), 0) << command;
  std::istringstream numbers(read_text(output.path()));
  std::vector<int64_t> ids{std::istream_iterator<int64_t>(numbers), {}};
  // Ids of bytes are after <unk>, <s> and </s>, if there are any.
  if (read_text(model).find("<0x0A>") != std::string::npos) {
    std::ranges::replace(ids, int64_t{3 + '\1'}, int64_t{3 + '\n'});
  }
  return ids;
}

}  // namespace timepipe::testing
