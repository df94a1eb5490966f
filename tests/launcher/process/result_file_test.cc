#include "launcher/process/result_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "runtime/error.h"
#include "runtime/files.h"
#include "tests/support/temporary_file.h"
#include "tests/support/throws.h"

namespace timepipe {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using testing::TemporaryFile;
using testing::throws;

void write_checked(const std::string& path, const std::string& text) {
  require_can_be_written(path);
  write_result(path, text);
}

TEST(ResultFile, ReplacesAFileAndMakesANewOne) {
  const TemporaryFile file("a longer text that was there");
  write_checked(file.path(), "new");
  EXPECT_EQ(read_text(file.path()), "new");
  fs::remove(file.path());
  write_checked(file.path(), "newer");
  EXPECT_EQ(read_text(file.path()), "newer");
}

TEST(ResultFile, WritesToAPipe) {
  const TemporaryFile pipe("");
  fs::remove(pipe.path());
  ASSERT_EQ(::mkfifo(pipe.path().c_str(), 0600), 0);
  const int reader = ::open(pipe.path().c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(reader, 0);
  write_checked(pipe.path(), "through");
  char text[16] = "";
  EXPECT_EQ(::read(reader, text, sizeof(text)), 7);
  EXPECT_STREQ(text, "through");
  ::close(reader);
  EXPECT_TRUE(fs::is_fifo(pipe.path()));
}

// Beside it there is no place for a new file that then gets its name.
TEST(ResultFile, WritesInPlaceWhereItCantReplace) {
  const TemporaryFile file("a longer text that was there");
  fs::create_directory(file.path() + ".part");
  write_checked(file.path(), "new");
  fs::remove(file.path() + ".part");
  EXPECT_EQ(read_text(file.path()), "new");

  const fs::path longest =
      fs::path(file.path()).parent_path() /
      std::string(255 - std::to_string(getpid()).size(), 'x')
          .append(std::to_string(getpid()));
  write_checked(longest, "new");
  EXPECT_EQ(read_text(longest), "new");
  fs::remove(longest);
}

TEST(ResultFile, ADeviceStaysOne) {
  write_checked("/dev/null", "text");
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
  EXPECT_THAT([] { write_result("/dev/full", "text"); },
              throws<IoError>("/dev/full: No space left on device"));
}

// The error of a result of this name, "" if there is none.
std::string refusal(const std::string& path,
                    const std::vector<CommandInput>& inputs) {
  try {
    require_no_input("--json", path, inputs);
  } catch (const InvalidArgument& error) {
    return error.what();
  }
  return "";
}

TEST(ResultFile, ReplacesNoInputByAnyName) {
  const TemporaryFile input("text"), other("text");
  const std::string link = TemporaryFile::unused_path(),
                    hard_link = TemporaryFile::unused_path();
  fs::create_symlink(input.path(), link);
  fs::create_hard_link(input.path(), hard_link);
  const std::string folder = fs::path(input.path()).parent_path().string();
  const std::string spelling =
      folder + "/./" + fs::path(input.path()).filename().string();
  const std::vector<CommandInput> inputs = {{"--tokens", ""},
                                            {"--data", input.path()}};
  for (const std::string& name : {input.path(), spelling, link, hard_link}) {
    EXPECT_EQ(refusal(name, inputs),
              "--json: " + name + ": the file of --data");
    EXPECT_EQ(refusal(input.path(), {{"--data", name}}),
              "--json: " + input.path() + ": the file of --data");
  }
  EXPECT_EQ(refusal(other.path(), inputs), "");
  EXPECT_EQ(refusal(link + "-new", inputs), "");
  EXPECT_EQ(refusal("/dev/null", {{"--data", "/dev/null"}}), "");
  fs::remove(link);
  fs::remove(hard_link);
}

TEST(ResultFile, ReplacesNothingOfAModelBelowAnInputThatIsAFolder) {
  const fs::path folder = TemporaryFile::unused_path();
  const TemporaryFile blob("weights"), other("text");
  fs::create_directories(folder / "checkpoints" / "step-000002");
  const std::string file =
      folder / "checkpoints" / "step-000002" / "shard.safetensors";
  write_checked(file, "weights");
  write_checked(folder / "eval.json", "of the call before");
  fs::create_symlink(blob.path(), folder / "model.safetensors");
  fs::create_directory_symlink("..", folder / "checkpoints" / "ring");
  fs::create_symlink("nothing", folder / "broken");
  const std::vector<CommandInput> inputs = {{"CHECKPOINT", folder}};
  for (const std::string& name : {file, blob.path()}) {
    EXPECT_EQ(refusal(name, inputs),
              "--json: " + name + ": a file in the folder of CHECKPOINT");
  }
  EXPECT_EQ(refusal(other.path(), inputs), "");
  EXPECT_EQ(refusal(folder / "new", inputs), "");
  EXPECT_EQ(refusal(folder / "eval.json", inputs), "");
  fs::remove_all(folder);
}

TEST(ResultFile, NamesWhatCantBeWritten) {
  const std::string folder = TemporaryFile::unused_path();
  EXPECT_THAT([&] { require_can_be_written(folder + "/file"); },
              throws<IoError>(HasSubstr(folder + ": No such file")));
  EXPECT_THAT([&] { write_result(folder + "/file", "text"); },
              throws<IoError>(HasSubstr(folder + "/file: No such")));
  fs::create_directory(folder);
  EXPECT_THAT([&] { require_can_be_written(folder); },
              throws<IoError>(HasSubstr(folder + ": not a regular")));
  fs::remove(folder);
}

}  // namespace
}  // namespace timepipe
