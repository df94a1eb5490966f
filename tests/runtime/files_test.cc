#include "runtime/files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>

#include "runtime/error.h"
#include "tests/support/temporary_file.h"

namespace timepipe {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using testing::TemporaryFile;
using ::testing::ThrowsMessage;

TEST(NewFile, FollowsALink) {
  const TemporaryFile target("old"), link("");
  fs::remove(link.path());
  fs::create_symlink(target.path(), link.path());
  require_can_be_made(link.path());
  write_file(link.path(), "new");
  EXPECT_TRUE(fs::is_symlink(link.path()));
  EXPECT_EQ(read_text(target.path()), "new");
}

TEST(NewFile, LeavesWhatIsNoFile) {
  const TemporaryFile pipe(""), folder("");
  fs::remove(pipe.path());
  ASSERT_EQ(::mkfifo(pipe.path().c_str(), 0600), 0);
  fs::remove(folder.path());
  fs::create_directory(folder.path());
  for (const std::string& path : {pipe.path(), folder.path()}) {
    const auto refused =
        ThrowsMessage<IoError>(HasSubstr(path + ": not a regular file"));
    EXPECT_THAT([&] { write_file(path, "text"); }, refused);
    EXPECT_THAT([&] { require_can_be_made(path); }, refused);
  }
  EXPECT_TRUE(fs::is_fifo(pipe.path()));
  EXPECT_TRUE(fs::is_directory(folder.path()));
}

TEST(NewFile, NamesTheFolderThatIsMissing) {
  const std::string folder = TemporaryFile::unused_path().string();
  EXPECT_THAT([&] { require_can_be_made(folder + "/file"); },
              ThrowsMessage<IoError>(HasSubstr(folder + ": No such file")));
}

}  // namespace
}  // namespace timepipe
