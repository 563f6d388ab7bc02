// SPDX-License-Identifier: MIT
// What the fuzz targets of graft's readers have in common. Each NAME.cpp here is a libFuzzer target
// of its own: any bytes must be read, or refused with a graft::error that names the file. run.sh
// builds and runs them all; by hand, from the root of the repository:
//
//   clang++ -std=c++20 -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all
//     -Iinclude -Itests -I/usr/include/eigen3 tests/fuzz/safetensors.cpp -o safetensors
//   ./safetensors -max_len=4096 -rss_limit_mb=1024 NEW_INPUTS tests/hostile/corpus/safetensors
//
// (tokenizer and tables link utf8proc; body is linked with what it tests of examples/support.)
#pragma once

#include <graft/core/error.hpp>

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace graft_fuzz {

inline std::string_view text_of_input(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// The parts of an input that zero bytes separate; all after the last separator asked for is one
// part.
inline std::vector<std::string_view> split(std::string_view input, std::size_t parts) {
  std::vector<std::string_view> all;
  while (all.size() + 1 < parts && input.find('\0') != std::string_view::npos) {
    all.push_back(input.substr(0, input.find('\0')));
    input.remove_prefix(all.back().size() + 1);
  }
  all.push_back(input);
  all.resize(parts);
  return all;
}

// A folder of this process, in memory where the system has such, gone with the process.
class work_folder {
 public:
  work_folder() {
    std::error_code ignored;
    const std::filesystem::path shared = "/dev/shm";
    path_ =
        (std::filesystem::is_directory(shared, ignored) ? shared
                                                        : std::filesystem::temp_directory_path()) /
        ("graft-fuzz-" + std::to_string(::getpid()));
    std::filesystem::create_directories(path_);
  }
  work_folder(const work_folder&) = delete;
  work_folder& operator=(const work_folder&) = delete;
  ~work_folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  std::string path() const { return path_.string(); }
  std::string operator/(const char* name) const { return (path_ / name).string(); }
  std::string write(const char* name, std::string_view bytes) const {
    const std::string file = *this / name;
    std::filesystem::create_directories(std::filesystem::path(file).parent_path());
    std::ofstream(file, std::ios::binary | std::ios::trunc)
        .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    return file;
  }
  void clear() const {
    for (const auto& entry : std::filesystem::directory_iterator(path_))
      std::filesystem::remove_all(entry.path());
  }

 private:
  std::filesystem::path path_;
};

// Runs a reader. What else than a graft::error it throws ends the process, which is a finding, and
// so is an error that does not name the file.
template <class Read>
void read_or_refuse(const std::string& file, const Read& read) {
  try {
    read();
  } catch (const graft::error& e) {
    if (std::string_view(e.what()).find(file) == std::string_view::npos) {
      std::fprintf(stderr, "an error that does not name %s: %s\n", file.c_str(), e.what());
      std::abort();
    }
  }
}

}  // namespace graft_fuzz
