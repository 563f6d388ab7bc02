// SPDX-License-Identifier: MIT
// What every program does alike: options, errors, exit codes, threads, memory, the progress line.
#pragma once

#include <CLI/CLI.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace programs {

// Parses the command line and runs `body`. The exit code: 0, 1 when body throws (its message goes
// to stderr), 2 for bad usage, which body may also find: it throws CLI::ValidationError.
int run(CLI::App& app, int argc, char** argv, const std::function<void()>& body);

// "graft-x: text" on stderr.
void say(const CLI::App& app, std::string_view text);

// Adds --threads, whose value is set before body runs.
void add_threads(CLI::App& app);

// Throws graft::error unless a file can be made at `path`, as far as can be told beforehand. "" is
// fine.
void expect_writable(const std::string& path);

// The greatest amount of memory this process has held so far; 0 where the system does not tell.
std::uint64_t peak_memory_bytes();

// "1:05:09", "5:09".
std::string clock_text(double seconds);

class stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// One line on the terminal that is written over, at most ten times a second. Shows nothing when
// stderr is no terminal or `quiet`.
class progress_line {
 public:
  explicit progress_line(bool quiet);
  progress_line(const progress_line&) = delete;
  progress_line& operator=(const progress_line&) = delete;
  ~progress_line() { clear(); }

  bool due() const { return shown_ && since_.seconds() >= 0.1; }
  void show(std::string_view text);
  void clear();

 private:
  bool shown_, dirty_ = false;
  stopwatch since_;
};

// What a training's progress line says.
struct training_moment {
  int epoch = 0, epochs = 0;
  std::int64_t step = 0, steps = 0;
  double loss = 0;
  std::int64_t tokens = 0;
};
std::string training_text(const training_moment& now, double seconds);

}  // namespace programs
