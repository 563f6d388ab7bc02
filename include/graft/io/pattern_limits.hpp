// SPDX-License-Identifier: MIT
// What a regular expression from a file may ask of std::regex, which is recursive, copies what is
// counted, and looks ahead anew at every character.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/plain.hpp>

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

namespace graft {

// Throws checkpoint_error, beginning with `place`, for a pattern beyond these limits. What is no
// expression at all is for the one who compiles it to refuse.
GRAFT_PLAIN void expect_modest_pattern(std::string_view pattern, const std::string& place);

}  // namespace graft

#if GRAFT_BODIES

namespace graft {

inline constexpr std::size_t pattern_length_limit = 500;   // bytes

inline constexpr std::size_t pattern_depth_limit = 20;     // groups within groups

inline constexpr std::size_t pattern_lookahead_limit = 1;  // (?= and (?!

inline constexpr std::size_t pattern_copies_limit =
    2000;  // bytes times all counts: (a{2}b){3} is 9 · 6

GRAFT_PLAIN void expect_modest_pattern(std::string_view pattern, const std::string& place) {
  const auto expect = [&](std::size_t found, std::size_t most, const char* what) {
    if (found > most)
      throw checkpoint_error(place + ": expected a pattern of at most " + std::to_string(most) +
                             " " + what + ", found " + std::to_string(found));
  };
  expect(pattern.size(), pattern_length_limit, "characters");
  std::size_t depth = 0, lookaheads = 0, copies = std::max<std::size_t>(pattern.size(), 1);
  bool in_class = false;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\') {
      ++i;
    } else if (in_class) {
      in_class = c != ']';
    } else if (c == '[') {
      in_class = true;
    } else if (c == '(') {
      expect(++depth, pattern_depth_limit, "groups within each other");
      const std::string_view rest = pattern.substr(i + 1, 2);
      expect(lookaheads += rest == "?=" || rest == "?!", pattern_lookahead_limit, "lookaheads");
    } else if (c == ')') {
      depth -= depth > 0 ? 1 : 0;
    } else if (c == '{') {
      std::size_t count = 0, most = 1;
      for (++i; i < pattern.size() && pattern[i] != '}'; ++i) {
        const bool digit = pattern[i] >= '0' && pattern[i] <= '9';
        count = digit ? std::min(count * 10 + static_cast<std::size_t>(pattern[i] - '0'),
                                 pattern_copies_limit)
                      : 0;
        most = std::max(most, count);
      }
      expect(copies *= most, pattern_copies_limit, "characters with what is counted written out");
    }
  }
}

}  // namespace graft

#endif
