// SPDX-License-Identifier: MIT
// Text files line by line.
#pragma once

#include <graft/core/view.hpp>
#include <graft/text/files.hpp>
#include <graft/text/unicode.hpp>

#include <algorithm>
#include <filesystem>
#include <string>
#include <string_view>

namespace graft::text_detail {

// Calls f(line, number) for the lines of a UTF-8 file, numbered from 1, without LF or CRLF, and
// returns how many there are. A byte order mark is passed over. Throws `Error` where the file
// cannot be read, and "FILE:LINE: expected …, found …" for a line that is not UTF-8.
template <class Error, class F>
index_t for_each_line(const std::filesystem::path& path, F&& f) {
  const std::string bytes = read_whole<Error>(path);
  std::string_view rest = bytes;
  if (rest.starts_with("\xEF\xBB\xBF"))
    rest.remove_prefix(3);
  index_t number = 0;
  while (!rest.empty()) {
    const auto end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.ends_with('\r'))
      line.remove_suffix(1);
    ++number;
    if (const index_t at = unicode::first_invalid_byte(line); at >= 0)
      throw Error(path.string() + ":" + std::to_string(number) +
                  ": expected UTF-8, found an invalid sequence at byte " + std::to_string(at));
    f(line, number);
  }
  return number;
}

}  // namespace graft::text_detail
