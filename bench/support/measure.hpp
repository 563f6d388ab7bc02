// SPDX-License-Identifier: MIT
// Time and memory of this process.
#pragma once

#include <chrono>
#include <cstddef>
#include <fstream>
#include <sstream>
#include <string>

namespace graft_bench {

inline double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// The most memory this process ever had resident (VmHWM); 0 where the system does not tell.
inline std::size_t peak_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:")) {
      std::size_t kibibytes = 0;
      std::istringstream(line.substr(6)) >> kibibytes;
      return kibibytes * 1024;
    }
  return 0;
}

}  // namespace graft_bench
