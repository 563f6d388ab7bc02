// SPDX-License-Identifier: MIT
// Strategies one after another: "head:1,full:2", "lora:3,merge,lora:3".
#pragma once

#include "support/session.hpp"

#include <string>
#include <vector>

namespace programs {

struct stage {
  const strategy* what = nullptr;
  int epochs = 0;
  bool merge = false;  // what came before is merged first
};

// Reads NAME[:EPOCHS] and "merge", parted by commas; without a number a stage has `epochs`. Throws
// CLI::ValidationError that says what was expected and found.
std::vector<stage> parse_stages(const std::string& text, int epochs);

}  // namespace programs
