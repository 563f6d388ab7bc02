// SPDX-License-Identifier: MIT
// What a reader says of a file that it refuses.
#pragma once

#include <graft/core/error.hpp>

#include <string>
#include <string_view>

#include "support/catch.hpp"
#include "support/scratch_folder.hpp"

namespace graft_test {

// The input_error of read(path) for a file with these bytes, from behind the file's name on.
template <class Read>
std::string read_failure(std::string_view bytes, Read&& read) {
  const scratch_folder folder;
  const std::string path = folder.write("file", bytes);
  try {
    read(path);
  } catch (const graft::input_error& e) {
    const std::string message = e.what();
    const auto at = message.find(path);
    REQUIRE(at != std::string::npos);
    return message.substr(at + path.size());
  }
  return "no error";
}

}  // namespace graft_test
