// SPDX-License-Identifier: MIT
#include "support/stages.hpp"

#include "support/program.hpp"

#include <charconv>
#include <sstream>

namespace programs {

std::vector<stage> parse_stages(const std::string& text, int epochs) {
  const auto fail = [&](const std::string& expected, const std::string& found) {
    throw CLI::ValidationError("--strategy", "expected " + expected + ", found " + found + " in \"" +
                                                 text + "\"; --help lists the strategies");
  };
  std::vector<stage> stages;
  bool merge = false;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    if (part == "merge") {
      if (stages.empty() || merge)
        fail("a strategy before merge", "none");
      merge = true;
      continue;
    }
    const std::size_t colon = part.find(':');
    const std::string name = part.substr(0, colon);
    stage next{find_strategy(name), epochs, merge};
    if (!next.what)
      fail("a strategy", "\"" + name + "\"");
    if (colon != std::string::npos) {
      const char *first = part.data() + colon + 1, *last = part.data() + part.size();
      if (const auto [end, failure] = std::from_chars(first, last, next.epochs);
          failure != std::errc() || end != last || next.epochs < 1)
        fail("a number of epochs from 1 on behind \"" + name + ":\"",
             "\"" + part.substr(colon + 1) + "\"");
    }
    merge = false;
    stages.push_back(next);
  }
  if (stages.empty() || text.ends_with(','))
    fail("a strategy", "nothing");
  if (merge)
    fail("a strategy behind merge", "none");
  return stages;
}

}  // namespace programs
