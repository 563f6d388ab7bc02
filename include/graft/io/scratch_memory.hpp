// SPDX-License-Identifier: MIT
// Memory for what is made once and read often: the process's own, or a file's.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/plain.hpp>
#include <graft/io/file.hpp>

#include <cstddef>
#include <filesystem>
#include <memory>

namespace graft {

// So many bytes, of no particular values at the beginning; copies share them. With a folder they are those
// of a mapped file there without a name, which is gone with the last copy, or with the process: the system may
// write pages to it and needs no memory for them. Throws graft::error where the file cannot be made, for
// want of room or because the system has no such files.
class scratch_memory {
 public:
  scratch_memory() = default;
  explicit scratch_memory(std::size_t bytes, const std::filesystem::path& folder = {}) : size_(bytes) {
    if (bytes == 0)
      return;
    if (folder.empty())
      data_ = {new std::byte[bytes], std::default_delete<std::byte[]>()};
    else
      map(folder);
  }

  std::byte* data() const { return data_.get(); }
  std::size_t size() const { return size_; }

 private:
  void map(const std::filesystem::path& folder);

  std::size_t size_ = 0;
  std::shared_ptr<std::byte> data_;
};

}  // namespace graft

#if GRAFT_BODIES

#include <cerrno>
#include <cstdlib>
#include <string>
#include <system_error>

#if defined(GRAFT_POSIX_FILES)
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace graft {

GRAFT_PLAIN void scratch_memory::map(const std::filesystem::path& folder) {
#if defined(GRAFT_POSIX_FILES)
  std::string name = (folder / "graft-XXXXXX").string();
  const int descriptor = ::mkstemp(name.data());
  if (descriptor < 0)
    detail::throw_errno("create a file in", folder);
  const std::unique_ptr<const int, void (*)(const int*)> closer(&descriptor,
                                                                [](const int* d) { ::close(*d); });
  ::unlink(name.c_str());
#if defined(__APPLE__)
  const int failure = ::ftruncate(descriptor, static_cast<off_t>(size_)) == 0 ? 0 : errno;
#else  // which finds out now whether there is room
  const int failure = ::posix_fallocate(descriptor, 0, static_cast<off_t>(size_));
#endif
  if (failure != 0)
    detail::throw_system_error("write " + std::to_string(size_) + " bytes in", folder,
                               std::error_code(failure, std::generic_category()));
  void* address = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  if (address == MAP_FAILED)
    detail::throw_errno("map a file in", folder);
  data_ = {static_cast<std::byte*>(address),
           [size = size_](std::byte* data) { ::munmap(data, size); }};
#else
  throw error("cannot map a file in " + folder.string() + ": this system is not known to do so");
#endif
}

}  // namespace graft

#endif
