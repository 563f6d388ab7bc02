// SPDX-License-Identifier: MIT
// Whole files as strings, in and out.
#pragma once

#include <graft/core/error.hpp>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <system_error>

namespace graft::text_detail {

inline bool is_plain_file(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(path, ignored);
}

// Throws `Error` when the file cannot be opened or read, naming it.
template <class Error>
std::string read_whole(const std::filesystem::path& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored))
    throw Error(path.string() + ": expected a file, found a folder");
  std::ifstream in(path, std::ios::binary);
  if (!in)
    throw Error(path.string() + ": expected a readable file, found: " + std::strerror(errno));
  std::string bytes{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  if (in.bad())
    throw Error(path.string() + ": reading stopped after " + std::to_string(bytes.size()) +
                " bytes");
  return bytes;
}

// Writes to a temporary name beside `path` and renames, so that nobody sees half a file. Throws
// graft::error and leaves no temporary behind.
inline void write_whole(const std::filesystem::path& path, const std::string& bytes) {
  const std::filesystem::path temporary = path.string() + ".tmp";
  std::error_code failure;
  {
    std::ofstream out(temporary, std::ios::binary | std::ios::trunc);
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    out.close();
    if (!out)
      failure = std::error_code(errno, std::generic_category());
    if (!out && !failure)
      failure = std::make_error_code(std::errc::io_error);
  }
  if (!failure)
    std::filesystem::rename(temporary, path, failure);
  if (failure) {
    std::error_code ignored;
    std::filesystem::remove(temporary, ignored);
    throw error(path.string() + ": expected to write it, found: " + failure.message());
  }
}

}  // namespace graft::text_detail
