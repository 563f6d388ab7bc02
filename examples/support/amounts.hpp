// SPDX-License-Identifier: MIT
// Amounts of time, memory and numbers on command lines and in tables.
#pragma once

#include <cstdint>
#include <string>

namespace programs {

// "90", "30s", "10m", "1.5h" in seconds. Throws CLI::ValidationError, which names `option`, for
// anything else and for what is not above 0.
double seconds_of(const std::string& text, const char* option);

// "4096", "512K", "1.5M", "2G", of 1024 each. Errors as above.
std::uint64_t amount_of(const std::string& text, const char* option);

// "512 B", "1.5 MiB".
std::string bytes_text(double bytes);

// "0.032 s", "12.3 s", "5:09".
std::string seconds_text(double seconds);

// As C's printf.
std::string printed(const char* format, double value);

// A word for a shell: in single quotes where it needs them.
std::string shell_word(const std::string& text);

}  // namespace programs
