// SPDX-License-Identifier: MIT
// What a training leaves to look at while it goes on: a line of JSON for each step and evaluation, and
// TensorBoard's events.
#pragma once

#include <graft/io/event_file.hpp>
#include <graft/train/training.hpp>

#include <cstdint>
#include <deque>
#include <fstream>
#include <optional>
#include <string>

namespace programs {

class training_records {
 public:
  // "" is none. A log that cannot be written is an error.
  training_records(std::string log, const std::string& tensorboard);

  // Of an earlier log, keeps what happened up to `step`, its evaluation included where it is `evaluated`;
  // nothing for step 0.
  void go_on_after(std::int64_t step, bool evaluated);
  // `before`: steps of earlier stages. A step's line is written once its numbers are there.
  void add(const graft::fit_progress& p, double rate, std::int64_t before);
  // Throws graft::error where not all could be written.
  void finish();

 private:
  struct step_line {
    std::int64_t step, tokens;
    int epoch;
    graft::reading loss, gradient_norm;
    double rate;
  };
  void write(const step_line& line);
  void write_steps(bool all);

  std::deque<step_line> steps_;
  std::string path_;
  std::ofstream log_;
  std::optional<graft::event_file> events_;
};

}  // namespace programs
