// SPDX-License-Identifier: MIT
// One training of one strategy, as graft-finetune would do it, and the task it is tried on.
#pragma once

#include "support/compute.hpp"
#include "support/session.hpp"
#include "support/task_data.hpp"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace programs {

// Examples as a model reads them.
struct task_examples {
  encoded_data train, dev, test;
};

// A pretrained model and the files of a task.
class task {
 public:
  task(const std::string& model, const std::string& train, const std::string& dev,
       const std::string& test, const data_form& form, const compute& c);

  const compute& computed_with() const { return compute_; }
  const std::string& model() const { return model_; }
  const graft::base_identity& base() const { return base_; }
  const data_form& form() const { return form_; }
  const graft::label_set& labels() const { return labels_; }
  const data_file& train() const { return train_; }
  const data_file& dev() const { return dev_; }
  const data_file& test() const { return test_; }
  // The name of the score that decides.
  std::string score() const;

  // The strategies' models have room for different numbers of tokens; what is returned holds until
  // the next call.
  const task_examples& examples_for(const session& model);
  // "" or how many texts the last call cut.
  const std::string& warning() const { return warning_; }

 private:
  compute compute_;
  std::string model_;
  graft::base_identity base_;
  data_form form_;
  data_file train_, dev_, test_;
  graft::label_set labels_;
  graft::index_t longest_ = -1;  // of the texts in examples_, in tokens
  task_examples examples_;
  std::string warning_;
};

struct trial {
  const strategy* how = nullptr;
  double rate = 1e-3;
  std::uint64_t seed = 0;
  int epochs = 3, batch = 16;
};

std::unique_ptr<session> start(const trial& t, const task& on);

graft::fit_options options_of(const trial& t);

// What a training needs beside the model: its gradient, the optimizer's memory and the workspace.
inline std::size_t training_bytes(const graft::fit_report& r) {
  return r.gradient_bytes + r.optimizer_bytes + r.workspace_peak_bytes;
}

// The scores of the best epoch. Throws graft::error when its loss is no finite number.
const graft::evaluation& best_of(const graft::fit_report& r);

std::uint64_t adapter_bytes(const std::string& folder);

}  // namespace programs
