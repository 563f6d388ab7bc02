// SPDX-License-Identifier: MIT
// What graft-finetune is told on its command line.
#pragma once

#include "support/compute.hpp"
#include "support/program.hpp"
#include "support/session.hpp"
#include "support/stages.hpp"
#include "support/task_data.hpp"

#include <graft/io/snapshot.hpp>
#include <graft/train/fit_options.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace programs {

struct finetune_settings {
  std::string model, train, dev, test, strategy, out, json_file, log_file, tensorboard;
  std::optional<int> rank, width;
  std::optional<float> alpha;
  std::optional<double> rate, dropout;
  std::vector<std::string> numbers, augment;
  int epochs = 3, batch = 16;
  std::uint64_t seed = 0;
  programs::data_form form;
  programs::compute with;
  graft::cross_entropy loss;
  graft::fit_options fit;  // what is not above
  bool balance = false;
  graft::snapshot_options snapshots;
  bool describe = false, quiet = false;
};

void add_options(CLI::App& app, finetune_settings& s);

// Throws CLI::ValidationError for a number that no stage has a use for.
void check_numbers(const finetune_settings& s, const std::vector<stage>& stages);

// The numbers of a strategy's decorations.
graft::decoration_numbers numbers_of(const finetune_settings& s, const strategy& strategy);

}  // namespace programs
