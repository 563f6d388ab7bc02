// SPDX-License-Identifier: MIT
// A folder of a test's own, gone with it.
#pragma once

#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <string_view>

namespace graft_test {

struct scratch_folder {
  std::filesystem::path path = std::filesystem::temp_directory_path() /
                               ("graft-test-" + std::to_string(std::random_device{}()) +
                                std::to_string(std::random_device{}()));

  scratch_folder() { std::filesystem::create_directory(path); }
  scratch_folder(const scratch_folder&) = delete;
  scratch_folder& operator=(const scratch_folder&) = delete;
  ~scratch_folder() { std::filesystem::remove_all(path); }

  std::string operator/(const std::string& name) const { return (path / name).string(); }

  // Writes a file of the folder, as it is, and gives its path.
  std::string write(const std::string& name, std::string_view bytes) const {
    std::ofstream(path / name, std::ios::binary) << bytes;
    return *this / name;
  }
};

}  // namespace graft_test
