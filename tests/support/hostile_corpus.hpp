// SPDX-License-Identifier: MIT
// Every file of a folder of hostile/corpus through its reader.
#pragma once

#include <graft/core/error.hpp>

#include <algorithm>
#include <chrono>
#include <exception>
#include <filesystem>
#include <string>
#include <vector>

#if defined(__unix__)
#include <sys/resource.h>
#endif

#include "support/catch.hpp"

namespace graft_test {

using namespace graft;

// MiB that the process has had at most; 0 where the system does not tell.
inline double peak_memory() {
#if defined(__linux__)
  struct rusage usage = {};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
#else
  return 0;
#endif
}

// Calls read(path) for every file or folder of hostile/corpus/PART. It must take less than a second
// and 64 MiB, and throw a graft::error that names the path unless the file's name ends in "_fine".
template <class Read>
void for_each_hostile(const std::string& part, const Read& read) {
  const auto folder = std::filesystem::path(GRAFT_TEST_DATA).parent_path() / "hostile" / "corpus";
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder / part))
    paths.push_back(entry.path().string());
  std::sort(paths.begin(), paths.end());
  REQUIRE(!paths.empty());
  for (const std::string& path : paths) {
    INFO(path);
    const double memory = peak_memory();
    const auto start = std::chrono::steady_clock::now();
    std::string refusal = "nothing: it was read";
    bool refused = false;
    try {
      read(path);
    } catch (const error& e) {
      refused = true;
      refusal = e.what();
    } catch (const std::exception& e) {
      FAIL_CHECK("expected a graft::error, found " << e.what());
      continue;
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    CHECK(seconds.count() < 1);
    CHECK(peak_memory() - memory < 64);
    INFO("refused with: " << refusal.substr(0, 400));
    const bool fine = std::filesystem::path(path).stem().string().ends_with("_fine");
    CHECK(refused == !fine);
    if (refused)
      CHECK_THAT(refusal, Catch::Matchers::Contains(path));
  }
}

}  // namespace graft_test
