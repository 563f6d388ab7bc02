// SPDX-License-Identifier: MIT
#include "support/trial.hpp"

#include <graft/core/error.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string_view>

namespace programs {

task::task(const std::string& model, const std::string& train, const std::string& dev,
           const std::string& test, const data_form& form, const compute& c)
    : compute_(c),
      model_(model),
      base_(graft::identify_base(model)),
      form_(form),
      train_(read_data(train, form)),
      dev_(read_data(dev, form)),
      test_(read_data(test, form)),
      labels_(labels_of(train_, form)) {
  for (const data_file* file : {&train_, &dev_, &test_})  // before hours are spent
    check_labels(*file, form, labels_);
}

std::string task::score() const {
  if (form_.task == graft::task_kind::question_answering)
    return "f1";  // of words, by scores_of
  return objective_of(form_, labels_, train_).evaluate({}).scores.front().first;
}

const task_examples& task::examples_for(const session& model) {
  const graft::index_t longest = std::min<graft::index_t>(form_.longest(), model.longest());
  if (longest == longest_)
    return examples_;
  auto encoder = text_encoder::open(model_, model.config(), model.longest(), form_.longest());
  examples_ = {encode(train_, form_, labels_, encoder), encode(dev_, form_, labels_, encoder),
               encode(test_, form_, labels_, encoder)};
  warning_ = encoder.warning();
  longest_ = longest;
  return examples_;
}

std::unique_ptr<session> start(const trial& t, const task& on) {
  graft::load_options options;
  options.task = on.form().task;
  options.label_names = on.labels().labels();
  options.replace_head = true;
  options.seed = t.seed;
  auto model = t.how->start(on.computed_with(), on.model(), options);
  model->objective = objective_of(on.form(), on.labels(), on.train());
  return model;
}

graft::fit_options options_of(const trial& t) {
  graft::fit_options options;
  options.epochs = t.epochs;
  options.batch = t.batch;
  options.method = graft::adamw{.rate = t.rate};
  options.seed = t.seed;
  return options;
}

const graft::evaluation& best_of(const graft::fit_report& r) {
  const graft::evaluation* best = r.best();
  if (!best || !std::isfinite(best->loss))
    throw graft::error("training: expected a finite loss on dev, found none");
  return *best;
}

std::uint64_t adapter_bytes(const std::string& folder) {
  std::uint64_t bytes = 0;
  for (const char* name : {"graft_adapter.safetensors", "graft_adapter.json"})
    bytes += std::filesystem::file_size(std::filesystem::path(folder) / name);
  return bytes;
}

}  // namespace programs
