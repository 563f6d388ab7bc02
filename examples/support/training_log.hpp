// SPDX-License-Identifier: MIT
// What the logs of trainings hold: curves over the steps.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

namespace programs {

// Values by rising step; NaN where the log says null, as it does for what is no number.
struct curve {
  std::vector<double> steps, values;

  // A step that comes again, or one before it, takes the place of all from there on: so a log reads
  // in which a training went on from an earlier state.
  void add(double step, double value);
};

// The mean of the `window` values (at least 1) around each, of fewer at the ends and beside values
// that are not finite, which stay as they are.
curve smoothed(const curve& c, std::size_t window);

// The curves of a log of graft-finetune, a JSON object per line: "loss" and all numbers "dev_...",
// each with the "step" of its line. Curves without a finite value are left out. Throws input_error
// with the line when it is no object or lacks the step, and when no curve is found at all.
std::map<std::string, curve> read_training_log(const std::string& path);

// The file names without what they have in common at either end, in whole words; of a single one
// its name without folders and ending.
std::vector<std::string> short_names(const std::vector<std::string>& paths);

}  // namespace programs
