// SPDX-License-Identifier: MIT
#include <graft/core/error.hpp>

#include "support/catch.hpp"

#include <string>

using namespace graft;

namespace {

template <class Error, class Action>
std::string message_of(Action action) {
  try {
    action();
  } catch (const Error& e) {
    return e.what();
  }
  return "nothing was thrown";
}

}  // namespace

TEST_CASE("every message begins with the library's name, once") {
  CHECK(message_of<error>([] { throw error("x"); }) == "graft: x");
  CHECK(message_of<error>([] { throw shape_error("x"); }) == "graft: x");
  CHECK(message_of<error>([] { throw checkpoint_error("x"); }) == "graft: x");
  CHECK(message_of<error>([] { throw input_error("x"); }) == "graft: x");
}

TEST_CASE("all errors are caught as the standard's runtime error") {
  CHECK_THROWS_AS(throw shape_error("x"), std::runtime_error);
  CHECK_THROWS_AS(throw checkpoint_error("x"), std::runtime_error);
  CHECK_THROWS_AS(throw input_error("x"), std::runtime_error);
}

TEST_CASE("a size that is not what it must be names place, expectation and finding") {
  CHECK(message_of<shape_error>([] { expect_size("linear: columns of the input", 3, 5); }) ==
        "graft: linear: columns of the input: expected 3, found 5");
  CHECK_NOTHROW(expect_size("linear: columns of the input", 3, 3));
}
