// SPDX-License-Identifier: MIT
// A request that is not answered: an HTTP status and why.
#pragma once

#include <stdexcept>
#include <string>

namespace programs {

struct refusal : std::runtime_error {
  int status;
  refusal(int http_status, const std::string& why) : std::runtime_error(why), status(http_status) {}
};

}  // namespace programs
