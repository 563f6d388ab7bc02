// SPDX-License-Identifier: MIT
// Parts of a task: to train less on, and to tell speed and memory from a few steps.
#pragma once

#include "support/trial.hpp"

#include <graft/train/splits.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace programs {

// A random order of the training texts; of those with classes its beginnings have every label.
std::vector<std::uint32_t> training_order(const task& data, std::uint64_t seed);
std::vector<std::uint32_t> dev_order(const task& data, std::uint64_t seed);

// The first n of an order, as the file has them.
std::vector<std::uint32_t> beginning(const std::vector<std::uint32_t>& order, std::size_t n);

// Parts of the training file, in which equal texts, and questions about one text, stay together and
// classes come in like shares. Throws input_error for fewer different texts than folds.
graft::index_lists folds_of(const task& data, int folds, std::uint64_t seed);

// What a fold trains on, and what it holds out.
struct fold_examples {
  graft::example_list train;
  data_file file;
  encoded_data held_out;
};
fold_examples fold_of(const task& data, const task_examples& all, const graft::index_lists& parts,
                      std::uint64_t number);

graft::example_list picked(const graft::example_list& all,
                           const std::vector<std::uint32_t>& chosen);

struct step_measures {
  double per_train_example = 0, per_dev_example = 0;  // seconds, of an example of mean length
  std::size_t bytes = 0;                              // training_bytes
};

// Trains two epochs on two batches, one of them the longest texts, and scores 32 of dev. The second
// epoch is timed. Leaves `model` trained.
step_measures measured(session& model, const task_examples& all, const trial& t);

}  // namespace programs
