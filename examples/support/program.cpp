// SPDX-License-Identifier: MIT
#include "support/program.hpp"

#include <graft/backend/thread_pool.hpp>
#include <graft/core/error.hpp>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>

#include <unistd.h>

namespace programs {

int run(CLI::App& app, int argc, char** argv, const std::function<void()>& body) {
  try {
    app.parse(argc, argv);
    body();
    if (!std::cout.flush())
      throw graft::error("standard output: expected to write to it, found it closed or full");
    return 0;
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  } catch (const std::exception& e) {
    say(app, graft::text_of(e));
    return 1;
  }
}

void say(const CLI::App& app, std::string_view text) {
  std::cerr << app.get_name() << ": " << text << std::endl;
}

void add_threads(CLI::App& app) {
  app.add_option_function<int>(
         "--threads", [](int n) { graft::set_threads(n); },
         "Threads to compute with (default: one per core, or OMP_NUM_THREADS)")
      ->type_name("N")
      ->check(CLI::Range(1, 1024));
}

void expect_writable(const std::string& path) {
  if (path.empty())
    return;
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  const std::string folder = parent.empty() ? "." : parent.string();
  if (access(folder.c_str(), W_OK | X_OK) != 0 || std::filesystem::is_directory(path))
    throw graft::error(path + ": expected a place for a file, found none that can be written");
}

std::uint64_t peak_memory_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:"))
      return std::stoull(line.substr(6)) * 1024;
  return 0;
}

std::string clock_text(double seconds) {
  const auto s = static_cast<long long>(std::max(seconds, 0.0) + 0.5);
  char text[32];
  if (s >= 3600)
    std::snprintf(text, sizeof text, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
  else
    std::snprintf(text, sizeof text, "%lld:%02lld", s / 60, s % 60);
  return text;
}

progress_line::progress_line(bool quiet) : shown_(!quiet && isatty(STDERR_FILENO) == 1) {}

void progress_line::show(std::string_view text) {
  if (!shown_)
    return;
  std::cerr << '\r' << text << "\x1b[K" << std::flush;
  dirty_ = true;
  since_ = {};
}

void progress_line::clear() {
  if (dirty_)
    std::cerr << "\r\x1b[K" << std::flush;
  dirty_ = false;
}

std::string training_text(const training_moment& now, double seconds) {
  const double done = static_cast<double>(now.step), all = static_cast<double>(now.steps);
  const double left = done > 0 ? seconds / done * (all - done) : 0;
  char text[160];
  std::snprintf(text, sizeof text, "epoch %d/%d  step %lld/%lld  loss %.4f  %.0f tokens/s  %s left",
                now.epoch, now.epochs, static_cast<long long>(now.step),
                static_cast<long long>(now.steps), now.loss,
                static_cast<double>(now.tokens) / std::max(seconds, 1e-9),
                clock_text(left).c_str());
  return text;
}

}  // namespace programs
