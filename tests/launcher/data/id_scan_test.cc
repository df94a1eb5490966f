#include "launcher/data/id_scan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/error.h"
#include "runtime/files.h"
#include "runtime/safetensors.h"
#include "tests/support/temporary_file.h"
#include "tests/support/throws.h"

namespace timepipe {
namespace {

using ::testing::HasSubstr;
using testing::TemporaryFile;
using testing::throws;

std::string stored(const std::vector<uint16_t>& ids) {
  return {reinterpret_cast<const char*>(ids.data()), 2 * ids.size()};
}

// As `timepipe data prepare` writes.
std::string prepared(const std::vector<uint16_t>& ids, int vocab_size) {
  const std::string bytes = stored(ids);
  const SafetensorsItem items[] = {{"tokens",
                                    "U16",
                                    {static_cast<int64_t>(ids.size())},
                                    std::as_bytes(std::span(bytes))}};
  return safetensors_header(items,
                            {{"vocab_size", std::to_string(vocab_size)}}) +
         bytes;
}

int64_t read_all(IdScan& scan) {
  int64_t bytes = 0;
  while (const int64_t more = scan.read_some()) bytes += more;
  return bytes;
}

TEST(IdScan, LeavesOutWhatCanHaveNoOtherIds) {
  const TemporaryFile text("text"), bin(stored({1, 2, 3}), ".bin"),
      saved(prepared({1, 2}, 100), ".safetensors");
  const TokenFile a(text.path()), b(bin.path()), c(saved.path());
  EXPECT_EQ(IdScan({&a, &b, &c}, 256, "").bytes_left(), 6);
  EXPECT_EQ(IdScan({&a, &b, &c}, 1 << 16, "").bytes_left(), 0);
  EXPECT_EQ(IdScan({&b, &b}, 256, "").bytes_left(), 6);  // once
}

TEST(IdScan, NamesFilePositionAndId) {
  std::vector<uint16_t> ids((9 << 20) + 1, 255);
  const TemporaryFile good(stored({1, 2}), ".bin"), late(stored(ids), ".bin");
  ids.back() = 400;
  const TemporaryFile bad(stored(ids), ".bin");
  const TokenFile a(good.path()), b(late.path()), c(bad.path());
  IdScan whole({&a, &b}, 256, "");
  EXPECT_EQ(read_all(whole), 4 + 2 * ((9 << 20) + 1));
  IdScan scan({&a, &c}, 256, "");
  const auto names_it = throws<InvalidArgument>(
      bad.path() + ": token 9437184: id 400, expected one in [0, 256)");
  EXPECT_THAT([&] { read_all(scan); }, names_it);
  const TemporaryFile small(stored({1, 400}), ".bin");
  const TokenFile d(small.path());
  IdScan behind({&a, &d}, 256, "");
  behind.go_on_in_background();
  behind.wait_for_background();
  EXPECT_THAT(
      [&] { behind.check(); },
      throws<InvalidArgument>(HasSubstr(small.path() + ": token 1: id 400, ")));
}

TEST(IdScan, RemembersWhatItLookedThrough) {
  const TemporaryFile memory(""), bin(stored({1, 2, 3}), ".bin"),
      other(stored({4, 5}), ".bin");
  const TokenFile a(bin.path()), b(other.path());
  {
    IdScan scan({&a}, 256, memory.path());
    EXPECT_EQ(read_all(scan), 6);
    scan.keep_memory(memory.path());
  }
  EXPECT_EQ(IdScan({&a, &b}, 256, memory.path()).bytes_left(), 4);
  EXPECT_EQ(IdScan({&a}, 200, memory.path()).bytes_left(), 6);  // other bound
  write_file(bin.path(), stored({1, 2, 7}));  // another file of that name
  const TokenFile again(bin.path());
  EXPECT_EQ(IdScan({&again}, 256, memory.path()).bytes_left(), 6);
}

TEST(IdScan, KeepsTheMemoryUpInTheBackground) {
  const TemporaryFile memory(""),
      bin(stored(std::vector<uint16_t>(99, 7)), ".bin");
  const TokenFile file(bin.path());
  {
    IdScan scan({&file}, 256, memory.path());
    scan.keep_memory(memory.path());
    EXPECT_EQ(IdScan({&file}, 256, memory.path()).bytes_left(), 198);
    scan.go_on_in_background();
    scan.wait_for_background();
    scan.check();
  }
  EXPECT_EQ(IdScan({&file}, 256, memory.path()).bytes_left(), 0);
}

TEST(IdScan, TrustsNoMemoryThatIsNone) {
  const TemporaryFile bin(stored({1, 2, 3}), ".bin");
  const TokenFile file(bin.path());
  for (const char* text :
       {"", "[]", "{\"vocab_size\": 256}",
        "{\"vocab_size\": 256, \"files\": 1}",
        "{\"vocab_size\": 256, \"files\": [1, {}, {\"tokens\": -1}]}"}) {
    const TemporaryFile memory(text);
    EXPECT_EQ(IdScan({&file}, 256, memory.path()).bytes_left(), 6) << text;
  }
}

}  // namespace
}  // namespace timepipe
