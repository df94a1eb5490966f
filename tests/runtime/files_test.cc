#include "runtime/files.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "runtime/error.h"
#include "tests/support/temporary_file.h"
#include "tests/support/throws.h"

namespace timepipe {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using testing::TemporaryFile;
using testing::throws;

TEST(InputFile, NamesTheFileThatWasCutShort) {
  const TemporaryFile file(std::string(100'000, 'a'));
  const InputFile input(file.path());
  std::vector<std::byte> bytes(10);
  input.read(99'990, bytes);
  EXPECT_EQ(bytes.back(), std::byte{'a'});
  fs::resize_file(file.path(), 99'995);
  EXPECT_THAT([&] { input.read(99'990, bytes); },
              throws<IoError>(HasSubstr(
                  file.path() + ": 99995 bytes, expected 100000 as when")));
}

TEST(InputFile, MayHaveAnotherName) {
  const TemporaryFile file("text");
  const InputFile input(file.path(), "standard input");
  EXPECT_EQ(input.path(), "standard input");
  fs::resize_file(file.path(), 2);
  EXPECT_THAT([&] { FileBytes(input).read_text(0, 4); },
              throws<IoError>(
                  "standard input: 2 bytes, expected 4 as when it was opened: "
                  "it was cut short"));
}

TEST(FileBytes, AreThoseOfAFileOrOfMemory) {
  const std::string text = "abcdefgh";
  const TemporaryFile file("123" + text);
  const InputFile input(file.path());
  for (const FileBytes& bytes :
       {FileBytes(input, 3), FileBytes(std::string_view(text))}) {
    EXPECT_EQ(bytes.size(), 8);
    EXPECT_EQ(bytes.read_text(0, 8), text);
    EXPECT_EQ(bytes.read_text(5, 2), "fg");
    EXPECT_EQ(bytes.read_text(8, 0), "");
    EXPECT_EQ(bytes.read(7, 1), std::vector{std::byte{'h'}});
  }
  EXPECT_EQ(FileBytes(input).size(), 11);
  EXPECT_EQ(FileBytes(input, 11).size(), 0);
}

TEST(InputFile, KnowsAnotherVersion) {
  const TemporaryFile file("one");
  const InputFile before(file.path());
  EXPECT_EQ(InputFile(file.path()).stamp(), before.stamp());
  write_file(file.path(), "two");
  EXPECT_FALSE(InputFile(file.path()).stamp() == before.stamp());
}

TEST(InputFile, OpensMoreFilesThanTheSoftLimit) {
  rlimit before = {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit few = {.rlim_cur = 16, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  const TemporaryFile file("text");
  std::vector<InputFile> many;
  for (int i = 0; i < 40; ++i) many.emplace_back(file.path());
  EXPECT_EQ(many.back().size_bytes(), 4);
  ::setrlimit(RLIMIT_NOFILE, &before);
}

TEST(NewFile, FollowsALink) {
  const TemporaryFile target("old"), link("");
  fs::remove(link.path());
  fs::create_symlink(target.path(), link.path());
  require_can_be_made(link.path());
  write_file(link.path(), "new");
  EXPECT_TRUE(fs::is_symlink(link.path()));
  EXPECT_EQ(read_text(target.path()), "new");
}

TEST(NewFile, FollowsLinksToWhereThereIsNothingYet) {
  const TemporaryFile folder("");
  fs::remove(folder.path());
  fs::create_directories(folder.path() + "/scratch");
  fs::create_symlink("scratch/target", folder.path() + "/link");
  fs::create_symlink("link", folder.path() + "/first");
  write_file(folder.path() + "/first", "new");
  EXPECT_EQ(fs::read_symlink(folder.path() + "/first"), "link");
  EXPECT_EQ(fs::read_symlink(folder.path() + "/link"), "scratch/target");
  EXPECT_EQ(read_text(folder.path() + "/scratch/target"), "new");

  fs::create_symlink("circle", folder.path() + "/circle");
  EXPECT_THAT(
      [&] { write_file(folder.path() + "/circle", "text"); },
      throws<IoError>(HasSubstr("/circle: too many levels of symbolic links")));
  fs::remove_all(folder.path());
}

// Network file systems have no files without a name.
TEST(NewFile, LeavesNothingIfItsProcessIsKilled) {
  const std::string path = TemporaryFile::unused_path().string();
  const int nameless =
      ::open(fs::path(path).parent_path().c_str(), O_TMPFILE | O_WRONLY, 0600);
  if (nameless >= 0) ::close(nameless);
  const pid_t child = ::fork();
  if (child == 0) {
    NewFile file(path);
    file.append(std::as_bytes(std::span("half of it")));
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(testing::entries_beginning_with(path), nameless >= 0 ? 0 : 1);
}

TEST(NewFile, CanBeReadBackAfterItIsGone) {
  const std::string path = TemporaryFile::unused_path().string();
  std::optional<InputFile> kept;
  {
    NewFile file(path);
    file.append(std::as_bytes(std::span("text", 4)));
    kept = file.read_back("a name");
  }
  EXPECT_EQ(FileBytes(*kept).read_text(0, 4), "text");
  EXPECT_EQ(kept->path(), "a name");
  EXPECT_EQ(testing::entries_beginning_with(path), 0);
}

TEST(Stream, IsReadToItsEnd) {
  const TemporaryFile pipe(""), file("");
  fs::remove(pipe.path());
  ASSERT_EQ(::mkfifo(pipe.path().c_str(), 0600), 0);
  EXPECT_TRUE(is_stream(pipe.path()));
  EXPECT_TRUE(is_stream("-"));
  EXPECT_TRUE(is_stream("/dev/null"));
  EXPECT_FALSE(is_stream(file.path()));
  EXPECT_FALSE(is_stream("/"));
  const std::string sent(3 << 20, 'x');
  std::jthread writer([&] { std::ofstream(pipe.path()) << sent; });
  std::size_t came = 0;
  read_stream(pipe.path(), [&](ConstBytes bytes) { came += bytes.size(); });
  EXPECT_EQ(came, sent.size());
  EXPECT_EQ(name_of_stream(pipe.path()), pipe.path());
  EXPECT_EQ(name_of_stream("-"), "standard input");
}

TEST(NewFile, LeavesWhatIsNoFile) {
  const TemporaryFile pipe(""), folder("");
  fs::remove(pipe.path());
  ASSERT_EQ(::mkfifo(pipe.path().c_str(), 0600), 0);
  fs::remove(folder.path());
  fs::create_directory(folder.path());
  for (const std::string& path : {pipe.path(), folder.path()}) {
    const auto refused =
        throws<IoError>(HasSubstr(path + ": not a regular file"));
    EXPECT_THAT([&] { write_file(path, "text"); }, refused);
    EXPECT_THAT([&] { require_can_be_made(path); }, refused);
  }
  EXPECT_TRUE(fs::is_fifo(pipe.path()));
  EXPECT_TRUE(fs::is_directory(folder.path()));
}

TEST(NewFile, SeveralOfOneNameDontMeet) {
  const std::string path = TemporaryFile::unused_path().string();
  const std::string a = "first", b = "other";
  NewFile first(path), other(path);
  first.append(std::as_bytes(std::span(a)));
  other.append(std::as_bytes(std::span(b)));
  first.commit();
  EXPECT_EQ(read_text(path), a);
  other.commit();
  EXPECT_EQ(read_text(path), b);
  EXPECT_EQ(testing::entries_beginning_with(path), 1);
  fs::remove(path);
}

TEST(NewFile, WhatADeadProcessLeftDoesntDisturb) {
  const std::string path = TemporaryFile::unused_path().string();
  const std::string last = temporary_path(path);
  const auto number = last.rfind('-') + 1;
  const auto left = last.substr(0, number) +
                    std::to_string(std::stoll(last.substr(number)) + 1) +
                    ".part";
  std::ofstream(left) << "of a dead process of the same number";
  write_file(path, "whole");
  EXPECT_EQ(read_text(path), "whole");
  EXPECT_THAT(read_text(left), HasSubstr("dead"));
  fs::remove(path);
  fs::remove(left);
}

TEST(NewFile, MayHaveTheLongestName) {
  const std::string path =
      fs::temp_directory_path() /
      (std::string(240, 'a') + "-" + std::to_string(10'000'000 + ::getpid()));
  write_file(path, "text");
  EXPECT_EQ(read_text(path), "text");
  fs::remove(path);
}

TEST(NewFile, NamesTheFolderThatIsMissing) {
  const std::string folder = TemporaryFile::unused_path().string();
  EXPECT_THAT([&] { require_can_be_made(folder + "/file"); },
              throws<IoError>(HasSubstr(folder + ": No such file")));
}

}  // namespace
}  // namespace timepipe
