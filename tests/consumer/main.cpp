// SPDX-License-Identifier: MIT
// A user's program: it only has to compile, link and run.
#include <graft/core/error.hpp>
#include <graft/version.hpp>

#include <string_view>

int main() {
  try {
    throw graft::shape_error("expected [2, 2], found [2, 3]");
  } catch (const graft::error& error) {
    return std::string_view(error.what()).starts_with("graft: ") && GRAFT_VERSION > 0 ? 0 : 1;
  }
}
