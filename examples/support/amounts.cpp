// SPDX-License-Identifier: MIT
#include "support/amounts.hpp"

#include "support/program.hpp"

#include <array>
#include <cctype>
#include <cmath>
#include <cstdio>
#include <cstdlib>

namespace programs {

namespace {

// The number and what a suffix of at most one character multiplies it by; 0 for what is neither.
double value_of(const std::string& text, double (*factor)(char)) {
  if (text.empty() || std::isdigit(static_cast<unsigned char>(text[0])) == 0)
    return 0;
  char* end = nullptr;
  const double number = std::strtod(text.c_str(), &end);
  const std::string rest = end;
  if (rest.size() > 1)
    return 0;
  const double value = number * (rest.empty() ? 1 : factor(rest[0]));
  return std::isfinite(value) ? value : 0;
}

}  // namespace

double seconds_of(const std::string& text, const char* option) {
  const double value = value_of(text, [](char c) {
    return c == 's' ? 1.0 : c == 'm' ? 60.0 : c == 'h' ? 3600.0 : 0.0;
  });
  if (!(value > 0))
    throw CLI::ValidationError(option, "expected a time such as 30s, 10m or 2h, found " + text);
  return value;
}

std::uint64_t amount_of(const std::string& text, const char* option) {
  const double value = value_of(text, [](char c) {
    return c == 'K' ? 0x1p10 : c == 'M' ? 0x1p20 : c == 'G' ? 0x1p30 : 0.0;
  });
  if (!(value >= 1 && value < 0x1p62))
    throw CLI::ValidationError(option,
                               "expected bytes such as 4096, 512K, 1M or 2G, found " + text);
  return static_cast<std::uint64_t>(value);
}

std::string bytes_text(double bytes) {
  constexpr std::array units{"B", "KiB", "MiB", "GiB"};
  std::size_t unit = 0;
  for (; bytes >= 1000 && unit + 1 < units.size(); ++unit)
    bytes /= 1024;
  return printed(unit == 0 || bytes >= 99.95 ? "%.0f " : "%.1f ", bytes) + units[unit];
}

std::string seconds_text(double seconds) {
  if (seconds >= 99.95)
    return clock_text(seconds);
  return printed(seconds >= 9.995 ? "%.1f s" : seconds >= 0.9995 ? "%.2f s" : "%.3f s", seconds);
}

std::string printed(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

std::string shell_word(const std::string& text) {
  constexpr std::string_view plain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./+:,=@%";
  if (!text.empty() && text.find_first_not_of(plain) == std::string::npos)
    return text;
  std::string quoted = "'";
  for (const char c : text)
    quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

}  // namespace programs
