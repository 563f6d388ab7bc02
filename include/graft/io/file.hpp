// SPDX-License-Identifier: MIT
// Files as a whole: mapped for reading, read as text, and written so that a failure leaves the old
// file as it was. What the operating system refuses is a graft::error with the path and its reason.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/plain.hpp>

#include <cerrno>
#include <concepts>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#if defined(__unix__) || defined(__APPLE__)
#define GRAFT_POSIX_FILES 1
#endif

namespace graft {

namespace detail {

[[noreturn]] GRAFT_PLAIN void throw_system_error(const std::string& what,
                                                 const std::filesystem::path& path,
                                                 std::error_code reason);
[[noreturn]] GRAFT_PLAIN void throw_errno(const std::string& what, const std::filesystem::path& path);

struct close_file {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using unique_file = std::unique_ptr<std::FILE, close_file>;

// Is there a file? Not where the system cannot say: then reading it will.
GRAFT_PLAIN bool is_file(const std::filesystem::path& path);

}  // namespace detail

// The whole file, byte for byte; the encoding is not looked at.
GRAFT_PLAIN std::string read_text(const std::filesystem::path& path);

// A file's bytes, mapped by the operating system where it can and read into memory elsewhere. The
// address stays the same as long as one shared pointer lives. The file may be renamed, replaced or
// deleted meanwhile, but not shortened: touching a page that is gone ends the process.
class read_only_mapping {
 public:
  static std::shared_ptr<const read_only_mapping> open(const std::filesystem::path& path);

  read_only_mapping(const read_only_mapping&) = delete;
  read_only_mapping& operator=(const read_only_mapping&) = delete;
  ~read_only_mapping();

  std::span<const std::byte> bytes() const { return {data_, size_}; }

  // Its bytes need no memory of the process until they are read again.
  void let_go() const;

 private:
  read_only_mapping() = default;

  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
#if !defined(GRAFT_POSIX_FILES)
  std::string text_;
#endif
};

// Makes the folder and the ones above it; one that is already there is fine.
GRAFT_PLAIN void create_folder(const std::filesystem::path& folder);

// The open file that write_atomically hands to its writer.
class output_file {
 public:
  void write(const void* data, std::size_t bytes) {
    if (bytes != 0 && std::fwrite(data, 1, bytes, file_.get()) != bytes)
      detail::throw_errno("write", target_);
  }
  void write(std::string_view text) { write(text.data(), text.size()); }

  output_file(const output_file&) = delete;
  output_file& operator=(const output_file&) = delete;
  ~output_file();

 private:
  template <std::invocable<output_file&> Writer>
  friend void write_atomically(const std::filesystem::path& path, Writer&& writer);

  explicit output_file(const std::filesystem::path& target);
  void commit();

  std::filesystem::path target_;
  std::filesystem::path temporary_;
  detail::unique_file file_;
};

// Calls writer(output_file&) on a temporary file beside `path`, forces it to the disk and renames
// it to `path`. Whatever goes wrong, in the writer too, is rethrown with the temporary file removed
// and an older file at `path` untouched. A symbolic link at `path` is replaced, not followed.
template <std::invocable<output_file&> Writer>
void write_atomically(const std::filesystem::path& path, Writer&& writer) {
  output_file file(path);
  std::forward<Writer>(writer)(file);
  file.commit();
}

}  // namespace graft

#if GRAFT_BODIES

#if defined(GRAFT_POSIX_FILES)
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#elif defined(_WIN32)
#include <io.h>
#endif

namespace graft {

namespace detail {

[[noreturn]] GRAFT_PLAIN void throw_system_error(const std::string& what,
                                                 const std::filesystem::path& path,
                                                 std::error_code reason) {
  throw error("cannot " + what + " " + path.string() + ": " + reason.message());
}

[[noreturn]] GRAFT_PLAIN void throw_errno(const std::string& what, const std::filesystem::path& path) {
  throw_system_error(what, path, std::error_code(errno, std::generic_category()));
}

GRAFT_PLAIN bool is_file(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(path, ignored);
}

}  // namespace detail

GRAFT_PLAIN std::string read_text(const std::filesystem::path& path) {
  detail::unique_file file(std::fopen(path.string().c_str(), "rb"));
  if (!file)
    detail::throw_errno("open", path);
  constexpr std::size_t chunk = 1 << 16;
  std::string text;
  for (;;) {
    const std::size_t before = text.size();
    text.resize(before + chunk);
    const std::size_t got = std::fread(text.data() + before, 1, chunk, file.get());
    text.resize(before + got);
    if (got == chunk)
      continue;
    if (std::ferror(file.get()) != 0)
      detail::throw_errno("read", path);
    return text;
  }
}

#if defined(GRAFT_POSIX_FILES)

GRAFT_PLAIN std::shared_ptr<const read_only_mapping> read_only_mapping::open(
    const std::filesystem::path& path) {
  // Without O_NONBLOCK a named pipe would wait for its writer.
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0)
    detail::throw_errno("open", path);
  const std::unique_ptr<const int, void (*)(const int*)> closer(&descriptor,
                                                                [](const int* d) { ::close(*d); });

  struct stat facts = {};
  if (::fstat(descriptor, &facts) != 0)
    detail::throw_errno("read", path);
  if (!S_ISREG(facts.st_mode))
    throw error(path.string() + ": expected a file, found a folder or a device");

  const std::shared_ptr<read_only_mapping> mapping(new read_only_mapping);
  const auto size = static_cast<std::size_t>(facts.st_size);
  if (size == 0)  // which mmap refuses
    return mapping;
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
  if (address == MAP_FAILED)
    detail::throw_errno("map", path);
  mapping->data_ = static_cast<const std::byte*>(address);
  mapping->size_ = size;
  return mapping;
}

GRAFT_PLAIN void read_only_mapping::let_go() const {
  if (data_ != nullptr)
    ::madvise(const_cast<std::byte*>(data_), size_, MADV_DONTNEED);
}

GRAFT_PLAIN read_only_mapping::~read_only_mapping() {
  if (data_ != nullptr)
    ::munmap(const_cast<std::byte*>(data_), size_);
}

#else

GRAFT_PLAIN std::shared_ptr<const read_only_mapping> read_only_mapping::open(
    const std::filesystem::path& path) {
  const std::shared_ptr<read_only_mapping> mapping(new read_only_mapping);
  mapping->text_ = read_text(path);
  mapping->data_ = reinterpret_cast<const std::byte*>(mapping->text_.data());
  mapping->size_ = mapping->text_.size();
  return mapping;
}

GRAFT_PLAIN void read_only_mapping::let_go() const {}

GRAFT_PLAIN read_only_mapping::~read_only_mapping() = default;

#endif

GRAFT_PLAIN void create_folder(const std::filesystem::path& folder) {
  std::error_code failure;
  std::filesystem::create_directories(folder, failure);
  if (failure)
    detail::throw_system_error("create the folder", folder, failure);
  if (!std::filesystem::is_directory(folder, failure))
    throw error(folder.string() + ": expected a folder, found a file");
}

GRAFT_PLAIN output_file::output_file(const std::filesystem::path& target) : target_(target) {
  if (!target.has_filename())
    throw error("cannot write " + target.string() + ": expected a file name, found a folder's");
  // A file left behind by a process that was killed takes a number; it does not stop us.
  constexpr int attempts = 1000;
  for (int number = 0; number < attempts; ++number) {
    temporary_ = target;
    temporary_ += ".tmp" + std::to_string(number);
    file_.reset(std::fopen(temporary_.string().c_str(), "wbx"));
    if (file_)
      return;
    if (errno != EEXIST)
      break;
  }
  detail::throw_errno("write", target);
}

GRAFT_PLAIN output_file::~output_file() {
  if (temporary_.empty())
    return;
  file_.reset();
  std::error_code ignored;
  std::filesystem::remove(temporary_, ignored);
}

GRAFT_PLAIN void output_file::commit() {
  bool flushed = std::fflush(file_.get()) == 0;
#if defined(GRAFT_POSIX_FILES)
  flushed = flushed && ::fsync(::fileno(file_.get())) == 0;
#elif defined(_WIN32)
  flushed = flushed && ::_commit(::_fileno(file_.get())) == 0;
#endif
  if (!flushed || std::fclose(file_.release()) != 0)
    detail::throw_errno("write", target_);

  std::error_code failure;
  std::filesystem::rename(temporary_, target_, failure);
  if (failure)
    detail::throw_system_error("write", target_, failure);
  temporary_.clear();

#if defined(GRAFT_POSIX_FILES)
  // The new name must survive a power cut as well. Some file systems cannot promise it: no error.
  const std::filesystem::path folder =
      target_.has_parent_path() ? target_.parent_path() : std::filesystem::path(".");
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor >= 0) {
    static_cast<void>(::fsync(descriptor));
    ::close(descriptor);
  }
#endif
}

}  // namespace graft

#endif
