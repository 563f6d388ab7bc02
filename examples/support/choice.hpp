// SPDX-License-Identifier: MIT
// The choice of a strategy and its learning rate within limits of time, memory and size.
#pragma once

#include "support/program.hpp"
#include "support/trial.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace programs {

struct choice_settings {
  std::string out{};
  std::vector<const strategy*> strategies{};
  std::optional<double> rate{};  // instead of each strategy's own
  std::string budget_text{};
  double budget = 0;                       // seconds
  std::optional<std::uint64_t> memory{};   // bytes of gradient, optimizer and workspace
  std::optional<std::uint64_t> adapter{};  // bytes of trained parameters
  std::uint64_t seed = 0;
  int epochs = 3, batch = 16;
  std::string further_options{};  // that graft-finetune is to be given in the same words
  bool quiet = false;
};

// Successive halving (support/halving.hpp) over strategies and learning rates: the given or usual
// one, a third of it and three times it. `spent` has run since the budget began. Says on stdout
// what it tries and drops and why, and the winner with a command that trains it again. The winner
// is in OUT/winner, the figures in OUT/choice.json, and in OUT/train.tsv the texts it was trained
// on where these are not all. Throws graft::error when no candidate stays within the limits.
void choose(const choice_settings& s, task& data, const stopwatch& spent);

}  // namespace programs
