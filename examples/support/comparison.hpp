// SPDX-License-Identifier: MIT
// The runs of a comparison as files that it goes on from, and what they come to by strategy.
#pragma once

#include "support/trial.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace programs {

// What a run measured, by name: trained_parameters, total_parameters, learning_rate, dev_loss, dev_ and
// each of the task's scores, the same of test where there is one, dev_score and test_score (the
// score that decides), best_epoch, steps, seconds, tokens_per_second, gradient_bytes, optimizer_bytes,
// workspace_bytes, training_bytes (their sum), adapter_bytes.
using measures = std::map<std::string, double, std::less<>>;

struct run_record {
  std::string strategy{};
  std::uint64_t seed = 0;
  std::string failed{};  // why; "" when it did not
  measures found{};      // of a run that did not fail
};

void add_scores(measures& found, const std::string& part, const graft::evaluation& scores);

// By the score on dev, equal ones by the loss.
bool better_on_dev(const measures& a, const measures& b);

// FOLDER/settings.json with these settings. Where there is one already it must say the same; else
// input_error names what differs.
void keep_settings(const std::string& folder, const nlohmann::ordered_json& settings);

// FOLDER/runs/STRATEGY-SEED.json; empty when that run has not been. `settings` tells of which
// settings the run must be.
std::optional<run_record> read_run(const std::string& folder, const std::string& strategy,
                                   std::uint64_t seed, const std::string& settings);
void write_run(const std::string& folder, const run_record& run, const std::string& settings);

// Foresees a run's time from runs that are done: the mean of its strategy's, or else of all.
class forecast {
 public:
  void add(const std::string& strategy, double seconds);
  double seconds(const std::string& strategy) const;  // 0 where none is done

 private:
  std::map<std::string, std::pair<double, double>> seen_;  // sum and number; of all at ""
};

// ---- by strategy --------------------------------------------------------------------------------

// Of the runs that did not fail: the mean, and its standard error s/√n with
// s² = Σ (x − mean)² / (n − 1), NaN for fewer than two.
struct spread {
  double mean = 0, error = 0;
};

struct summary {
  std::string strategy{};
  std::size_t done = 0, failed = 0;
  std::string reason{};  // of the first failure
  std::map<std::string, spread, std::less<>> of{};

  const spread* find(std::string_view name) const {
    const auto found = of.find(name);
    return found == of.end() ? nullptr : &found->second;
  }
};

// The best on dev first, those without a run that ended well last.
std::vector<summary> summarized(std::span<const run_record> runs);

// `score` is the name of the one that decides.
std::string table_of(std::span<const summary> rows, const std::string& score);
std::string csv_of(std::span<const summary> rows);
// An SVG: the score against trained parameters, seconds and memory.
std::string picture_of(std::span<const summary> rows, const std::string& score,
                       const std::string& title);

}  // namespace programs
