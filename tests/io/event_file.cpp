// SPDX-License-Identifier: MIT
#include <graft/io/event_file.hpp>

#include "support/catch.hpp"
#include "support/message_of.hpp"
#include "support/scratch_folder.hpp"

#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <string_view>

#if defined(GRAFT_POSIX_FILES)
#include <sys/resource.h>
#include <csignal>
#endif

namespace fs = std::filesystem;

namespace {

using graft_test::message_of;
using graft_test::scratch_folder;

// Written by TensorBoard 2.21.0, its RecordWriter over its event_pb2.Event.
constexpr std::uint8_t theirs[] = {
    0x18, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xa3, 0x7f, 0x4b, 0x22, 0x09, 0x00, 0x00, 0x10,
    0x40, 0xfc, 0x54, 0xd9, 0x41, 0x1a, 0x0d, 0x62, 0x72, 0x61, 0x69, 0x6e, 0x2e, 0x45, 0x76, 0x65,
    0x6e, 0x74, 0x3a, 0x32, 0x33, 0x8d, 0x2f, 0xe9, 0x18, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0xa3, 0x7f, 0x4b, 0x22, 0x09, 0x00, 0x00, 0x20, 0x40, 0xfc, 0x54, 0xd9, 0x41, 0x2a, 0x0d, 0x0a,
    0x0b, 0x0a, 0x04, 0x6c, 0x6f, 0x73, 0x73, 0x15, 0x00, 0x00, 0x40, 0x3f, 0xb7, 0x03, 0xcd, 0xbd,
    0x1b, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x1a, 0x0d, 0x9e, 0x13, 0x09, 0x00, 0x00, 0x40,
    0x40, 0xfc, 0x54, 0xd9, 0x41, 0x10, 0xac, 0x02, 0x2a, 0x0d, 0x0a, 0x0b, 0x0a, 0x04, 0x6c, 0x6f,
    0x73, 0x73, 0x15, 0x00, 0x00, 0x00, 0x00, 0x98, 0xcd, 0x52, 0x88, 0x26, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x73, 0x4f, 0xe3, 0x00, 0x09, 0x00, 0x00, 0xa0, 0x40, 0xfc, 0x54, 0xd9, 0x41,
    0x10, 0x80, 0x80, 0x80, 0x80, 0x08, 0x2a, 0x15, 0x0a, 0x13, 0x0a, 0x0c, 0x64, 0x65, 0x76, 0x2f,
    0x61, 0x63, 0x63, 0x75, 0x72, 0x61, 0x63, 0x79, 0x15, 0x00, 0x00, 0x60, 0x3f, 0xc2, 0x3c, 0xbe,
    0x18, 0x23, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xb0, 0x9f, 0x77, 0x43, 0x09, 0x00, 0x00,
    0xc0, 0x40, 0xfc, 0x54, 0xd9, 0x41, 0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0x01, 0x2a, 0x0d, 0x0a, 0x0b, 0x0a, 0x04, 0x6c, 0x6f, 0x73, 0x73, 0x15, 0x00, 0x00, 0x80, 0x7f,
    0x21, 0x27, 0x32, 0xfa,
};

}  // namespace

TEST_CASE("check sums are those of RFC 3720, B.4") {
  std::string up, down;
  for (int i = 0; i < 32; ++i) {
    up += static_cast<char>(i);
    down += static_cast<char>(31 - i);
  }
  CHECK(graft::detail::crc32c(std::string(32, '\0')) == 0x8a9136aau);
  CHECK(graft::detail::crc32c(std::string(32, '\xff')) == 0x62a8ab43u);
  CHECK(graft::detail::crc32c(up) == 0x46dd794eu);
  CHECK(graft::detail::crc32c(down) == 0x113fdb5cu);
  CHECK(graft::detail::crc32c("123456789") == 0xe3069283u);
  CHECK(graft::detail::crc32c("") == 0u);
}

TEST_CASE("a file is byte for byte what TensorBoard's own writer makes of the same events") {
  const scratch_folder folder;
  graft::event_file file(folder.path, 1700000000.25);
  CHECK(file.path() == folder.path / "events.out.tfevents.1700000000.graft");
  file.scalar("loss", 0, 0.75, 1700000000.5);
  file.scalar("loss", 300, 0.0, 1700000001.0);
  file.scalar("dev/accuracy", 2147483648, 0.875, 1700000002.5);
  file.scalar("loss", -1, std::numeric_limits<double>::infinity(), 1700000003.0);
  CHECK(graft::read_text(file.path()) ==
        std::string_view(reinterpret_cast<const char*>(theirs), sizeof theirs));
}

TEST_CASE("a point is in the file as soon as it was written") {
  const scratch_folder folder;
  graft::event_file file(folder.path);
  const auto size = fs::file_size(file.path());
  file.scalar("loss", 1, 0.5, 1.0);
  const auto one = fs::file_size(file.path()) - size;
  CHECK(one == 12 + (9 + 2 + 2 + (2 + 6 + 5)) + 4);  // length, wall time, step, summary, check sum
  file.scalar("loss", 2, 0.25, 2.0);
  CHECK(fs::file_size(file.path()) == size + 2 * one);
}

TEST_CASE("the folder is made, and a second file of the same second takes a number") {
  const scratch_folder folder;
  const fs::path run = folder.path / "runs" / "first";
  const graft::event_file one(run, 5.75), two(run, 5.0), three(run, 5.5);
  CHECK(one.path() == run / "events.out.tfevents.0000000005.graft");
  CHECK(two.path() == run / "events.out.tfevents.0000000005.graft.1");
  CHECK(three.path() == run / "events.out.tfevents.0000000005.graft.2");
}

TEST_CASE("a place where no file can be made is an error with its path") {
  const scratch_folder folder;
  const std::string taken = folder.write("taken", "x");
  CHECK(message_of<graft::error>([&] { graft::event_file file(taken); }).find(taken) !=
        std::string::npos);
}

#if defined(GRAFT_POSIX_FILES)

TEST_CASE("a disk that runs full is an error with the file's path") {
  const scratch_folder folder;
  graft::event_file file(folder.path, 5.0);

  rlimit before = {};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit small = before;
  small.rlim_cur = fs::file_size(file.path());
  REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
  const std::string message = message_of<graft::error>([&] { file.scalar("loss", 1, 0.5, 1.0); });
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);

  CHECK(message == "graft: cannot write " + file.path().string() + ": File too large");
}

#endif
