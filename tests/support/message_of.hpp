// SPDX-License-Identifier: MIT
// What is said by an error.
#pragma once

#include <exception>
#include <string>

namespace graft_test {

// The message of the graft::error of type E that f() throws.
template <class E, class F>
std::string message_of(F&& f) {
  try {
    f();
  } catch (const E& e) {
    return e.what();
  } catch (const std::exception& e) {
    return std::string("another exception: ") + e.what();
  }
  return "no exception";
}

}  // namespace graft_test
