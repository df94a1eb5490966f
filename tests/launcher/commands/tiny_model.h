#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "tests/support/temporary_file.h"

namespace timepipe::testing {

// A text with words, signs, more than one script and characters of one to four
// bytes.
inline std::string sample_text() {
  std::string text;
  for (const char* noun : {"river", "mountain", "caf\xc3\xa9", "wheel", "song",
                           "\xd0\xbc\xd0\xbe\xd1\x80\xd0\xb5"}) {
    for (const char* verb : {"carries", "remembers", "follows", "answers"}) {
      text += std::string("The old ") + noun + " " + verb +
              " what the other one says; 12 " + noun +
              "s, \xe2\x82\xac"
              "5 each.\n";
    }
  }
  return text;
}

// A sentencepiece model that spm_train makes of the sample while this lives.
class TinyModel {
 public:
  explicit TinyModel(const std::string& options,
                     const std::string& sample = sample_text())
      : text_(sample), prefix_(text_.path() + ".tiny") {
    const std::string command = TIMEPIPE_SPM_TRAIN " --input=" + text_.path() +
                                " --model_prefix=" + prefix_ +
                                " --hard_vocab_limit=false " + options +
                                " >/dev/null 2>&1";
    EXPECT_EQ(std::system(command.c_str()), 0) << command;
  }
  TinyModel(const TinyModel&) = delete;
  TinyModel& operator=(const TinyModel&) = delete;
  ~TinyModel() {
    std::error_code ignored;
    std::filesystem::remove(path(), ignored);
    std::filesystem::remove(prefix_ + ".vocab", ignored);
  }

  std::string path() const { return prefix_ + ".model"; }

 private:
  TemporaryFile text_;
  std::string prefix_;
};

// Of the kind that spm_train makes by itself.
inline constexpr char kUnigram[] = "--vocab_size=150";
// Of the kind of Llama 2: spaces stay as they are, other characters are bytes.
inline constexpr char kBytePairs[] =
    "--model_type=bpe --vocab_size=420 --byte_fallback=true "
    "--normalization_rule_name=identity --remove_extra_whitespaces=false "
    "--character_coverage=0.99";

}  // namespace timepipe::testing
