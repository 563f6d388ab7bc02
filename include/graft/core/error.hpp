// SPDX-License-Identifier: MIT
// What graft throws: one family of exceptions whose messages name the place, what was expected there
// and what was found.
#pragma once

#include <graft/core/plain.hpp>
#include <graft/core/view.hpp>

#include <exception>
#include <stdexcept>
#include <string>

namespace graft {

// Every error of the library. The message begins with "graft: ".
struct error : std::runtime_error {
  explicit error(const std::string& message);
};

// What an error says, without the library's name in front: to go into another message.
GRAFT_PLAIN std::string text_of(const std::exception& e);

// Two sizes that must agree do not.
struct shape_error : error {
  using error::error;
};

// A checkpoint, adapter or configuration file is malformed, or does not fit the model.
struct checkpoint_error : error {
  using error::error;
};

// The user's data (texts, labels, options) is not what it must be.
struct input_error : error {
  using error::error;
};

// A GPU, its driver or a library of its maker's refused a call.
struct device_error : error {
  using error::error;
};

// Throws shape_error unless a size is what it must be.
GRAFT_PLAIN void expect_size(const char* what, index_t expected, index_t found);

}  // namespace graft

#if GRAFT_BODIES

namespace graft {

GRAFT_PLAIN std::string text_of(const std::exception& e) {
  const std::string text = e.what();
  return text.starts_with("graft: ") ? text.substr(7) : text;
}

GRAFT_PLAIN void expect_size(const char* what, index_t expected, index_t found) {
  if (expected != found)
    throw shape_error(std::string(what) + ": expected " + std::to_string(expected) + ", found " +
                      std::to_string(found));
}

GRAFT_PLAIN error::error(const std::string& message) : std::runtime_error("graft: " + message) {}

}  // namespace graft

#endif
