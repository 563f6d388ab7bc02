// SPDX-License-Identifier: MIT
#include <graft/io/file.hpp>

#include "support/catch.hpp"
#include "support/message_of.hpp"
#include "support/scratch_folder.hpp"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#if defined(GRAFT_POSIX_FILES)
#include <sys/resource.h>
#include <unistd.h>
#include <csignal>
#endif

namespace fs = std::filesystem;

namespace {

using graft_test::message_of;
using graft_test::scratch_folder;

void write_plainly(const fs::path& path, std::string_view text) {
  std::ofstream(path, std::ios::binary)
      .write(text.data(), static_cast<std::streamsize>(text.size()));
}

std::string_view text_of(const graft::read_only_mapping& mapping) {
  return {reinterpret_cast<const char*>(mapping.bytes().data()), mapping.bytes().size()};
}

auto files_in(const fs::path& folder) {
  return std::distance(fs::directory_iterator(folder), fs::directory_iterator());
}

void write_whole(const fs::path& path, std::string_view text) {
  graft::write_atomically(path, [&](graft::output_file& file) { file.write(text); });
}

}  // namespace

TEST_CASE("text is read byte for byte, whatever its length") {
  const scratch_folder folder;
  const fs::path path = folder.path / "text";
  for (const std::size_t size : {0u, 1u, 65535u, 65536u, 65537u, 200000u}) {
    std::string text(size, 'x');
    if (size > 2)
      text[size / 2] = '\0', text[size - 1] = '\r';
    write_plainly(path, text);
    CHECK(graft::read_text(path) == text);
  }
}

TEST_CASE("a mapping holds the bytes of the file after it was renamed and replaced") {
  const scratch_folder folder;
  const fs::path path = folder.path / "data";
  write_plainly(path, "first");
  const auto mapping = graft::read_only_mapping::open(path);
  write_whole(path, "second");
  CHECK(text_of(*mapping) == "first");
  CHECK(text_of(*graft::read_only_mapping::open(path)) == "second");
}

#if defined(__linux__)
TEST_CASE("bytes of a mapping that were let go of take no memory, and are there when they are read again") {
  const scratch_folder folder;
  const fs::path path = folder.path / "large";
  constexpr std::size_t size = 1 << 20;
  write_plainly(path, std::string(size, 'x'));
  const auto mapping = graft::read_only_mapping::open(path);
  // Kilobytes of it in memory, as the system counts them.
  const auto resident = [&] {
    std::ifstream maps("/proc/self/smaps");
    bool found = false;
    for (std::string line; std::getline(maps, line);) {
      if (line.find(path.string()) != std::string::npos)
        found = true;
      else if (found && line.starts_with("Rss:"))
        return std::stol(line.substr(4));
    }
    return -1L;
  };
  const auto sum = [&] {
    std::size_t n = 0;
    for (const std::byte b : mapping->bytes())
      n += static_cast<std::size_t>(b);
    return n;
  };
  CHECK(sum() == size * 'x');
  CHECK(resident() == size / 1024);
  mapping->let_go();
  CHECK(resident() == 0);
  CHECK(sum() == size * 'x');
}
#endif

TEST_CASE("an empty file maps to no bytes") {
  const scratch_folder folder;
  write_plainly(folder.path / "empty", "");
  CHECK(graft::read_only_mapping::open(folder.path / "empty")->bytes().empty());
}

TEST_CASE("reading what is no file names the path and the reason") {
  const scratch_folder folder;
  const fs::path missing = folder.path / "missing";
  CHECK(message_of<graft::error>([&] { graft::read_text(missing); }) ==
        "graft: cannot open " + missing.string() + ": No such file or directory");
  CHECK(message_of<graft::error>([&] { graft::read_only_mapping::open(missing); }) ==
        "graft: cannot open " + missing.string() + ": No such file or directory");
  CHECK(message_of<graft::error>([&] { graft::read_text(folder.path); }) ==
        "graft: cannot read " + folder.path.string() + ": Is a directory");
#if defined(GRAFT_POSIX_FILES)
  CHECK(message_of<graft::error>([&] { graft::read_only_mapping::open(folder.path); }) ==
        "graft: " + folder.path.string() + ": expected a file, found a folder or a device");
#endif
}

TEST_CASE("folders are made with the ones above them, and again without complaint") {
  const scratch_folder folder;
  graft::create_folder(folder.path / "a" / "b");
  CHECK(fs::is_directory(folder.path / "a" / "b"));
  CHECK_NOTHROW(graft::create_folder(folder.path / "a" / "b"));
}

TEST_CASE("a folder cannot be made where a file is") {
  const scratch_folder folder;
  const fs::path file = folder.path / "file";
  write_plainly(file, "x");
  CHECK(message_of<graft::error>([&] { graft::create_folder(file); }).find(file.string()) !=
        std::string::npos);
  CHECK(message_of<graft::error>([&] { graft::create_folder(file / "below"); }) ==
        "graft: cannot create the folder " + (file / "below").string() + ": Not a directory");
}

TEST_CASE("writing replaces the old file and leaves nothing else") {
  const scratch_folder folder;
  const fs::path path = folder.path / "data";
  write_whole(path, "a long first text");
  write_whole(path, "short");
  CHECK(graft::read_text(path) == "short");
  write_whole(path, "");
  CHECK(graft::read_text(path).empty());
  CHECK(files_in(folder.path) == 1);
}

TEST_CASE("a temporary file left behind by another process stays and does no harm") {
  const scratch_folder folder;
  write_plainly(folder.path / "data.tmp0", "other's");
  write_whole(folder.path / "data", "mine");
  CHECK(graft::read_text(folder.path / "data") == "mine");
  CHECK(graft::read_text(folder.path / "data.tmp0") == "other's");
  CHECK(files_in(folder.path) == 2);
}

TEST_CASE("a writer that throws leaves the old file and no temporary one") {
  const scratch_folder folder;
  const fs::path path = folder.path / "data";
  write_whole(path, "old");
  const auto half = [](graft::output_file& file) {
    file.write("half of the n");
    throw std::runtime_error("the writer's own");
  };
  CHECK_THROWS_WITH(graft::write_atomically(path, half), "the writer's own");
  CHECK(graft::read_text(path) == "old");
  CHECK(files_in(folder.path) == 1);
}

TEST_CASE("a target that cannot be written is an error with its path, and no temporary stays") {
  const scratch_folder folder;
  const fs::path file = folder.path / "file";
  write_plainly(file, "x");
  CHECK(message_of<graft::error>([&] { write_whole(file / "below", "y"); }) ==
        "graft: cannot write " + (file / "below").string() + ": Not a directory");
  CHECK(message_of<graft::error>([&] { write_whole(folder.path / "no" / "file", "y"); }) ==
        "graft: cannot write " + (folder.path / "no" / "file").string() +
            ": No such file or directory");
  CHECK(message_of<graft::error>([&] {
          write_whole(folder.path / "", "y");
        }).find("expected a file name") != std::string::npos);

  const fs::path taken = folder.path / "folder";
  fs::create_directories(taken / "inside");
  CHECK(message_of<graft::error>([&] { write_whole(taken, "y"); }) ==
        "graft: cannot write " + taken.string() + ": Is a directory");
  CHECK(files_in(folder.path) == 2);
}

#if defined(GRAFT_POSIX_FILES)

TEST_CASE("a disk that runs full while writing leaves the old file and no temporary one") {
  const scratch_folder folder;
  const fs::path path = folder.path / "data";
  write_whole(path, "old");

  rlimit before = {};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit small = before;
  small.rlim_cur = 4096;
  REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
  // The first fails while it writes, the second when its last bytes are flushed.
  const std::string large =
      message_of<graft::error>([&] { write_whole(path, std::string(1 << 20, 'x')); });
  const std::string late = message_of<graft::error>([&] {
    graft::write_atomically(path, [](graft::output_file& file) {
      file.write(std::string(4096, 'x'));
      file.write("x");
    });
  });
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);

  CHECK(large == "graft: cannot write " + path.string() + ": File too large");
  CHECK(late == "graft: cannot write " + path.string() + ": File too large");
  CHECK(graft::read_text(path) == "old");
  CHECK(files_in(folder.path) == 1);
}

TEST_CASE("a folder without the right to write stays as it is") {
  if (::geteuid() == 0) {
    SUCCEED("left out: root may do everything and cannot be refused");
    return;
  }
  const scratch_folder folder;
  fs::permissions(folder.path, fs::perms::owner_read | fs::perms::owner_exec);
  CHECK(message_of<graft::error>([&] { write_whole(folder.path / "data", "y"); }) ==
        "graft: cannot write " + (folder.path / "data").string() + ": Permission denied");
  fs::permissions(folder.path, fs::perms::owner_all);
  CHECK(files_in(folder.path) == 0);
}

TEST_CASE("a symbolic link at the target is replaced, what it points to stays") {
  const scratch_folder folder;
  write_plainly(folder.path / "blob", "shared");
  fs::create_symlink(folder.path / "blob", folder.path / "link");
  write_whole(folder.path / "link", "mine");
  CHECK(graft::read_text(folder.path / "blob") == "shared");
  CHECK(graft::read_text(folder.path / "link") == "mine");
  CHECK_FALSE(fs::is_symlink(folder.path / "link"));
}

#endif
