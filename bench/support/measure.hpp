// SPDX-License-Identifier: MIT
// Time and memory of this process, and what is made of many measurements.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <ctime>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include <unistd.h>

namespace graft_bench {

inline double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Since this process was started, to a tick of the system (0.01 s); 0 where the system does not tell.
inline double seconds_since_start() {
  std::ifstream file("/proc/self/stat");
  std::string stat;
  std::getline(file, stat);
  std::istringstream rest(stat.substr(stat.rfind(')') + 1));  // fields 3 …, of which 22 is asked for
  std::string skipped;
  for (int field = 3; field < 22; ++field)
    rest >> skipped;
  double ticks = 0;
  timespec now{};
  if (!(rest >> ticks) || clock_gettime(CLOCK_BOOTTIME, &now) != 0)
    return 0;
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9 -
         ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
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

inline double median_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return (values[values.size() / 2] + values[(values.size() - 1) / 2]) / 2;
}

}  // namespace graft_bench
