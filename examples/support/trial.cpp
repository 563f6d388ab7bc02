// SPDX-License-Identifier: MIT
#include "support/trial.hpp"

#include <graft/core/error.hpp>
#include <graft/io/fingerprint.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string_view>

namespace programs {

task::task(const std::string& model, const std::string& train, const std::string& dev,
           const std::string& test, int max_length, std::size_t limit)
    : model_(model),
      base_(graft::identify_base(model)),
      train_{train, read_texts(train, limit)},
      dev_{dev, read_texts(dev, limit)},
      test_{test, {}},
      labels_(train_.texts),
      max_length_(max_length) {
  if (!test.empty())
    test_.texts = read_texts(test, limit);
  if (labels_.size() < 2)
    throw graft::input_error(train + ": expected at least 2 different labels, found 1");
  for (const text_file* file : {&dev_, &test_})  // before hours are spent
    for (const auto& text : file->texts)
      labels_.index_of(text, file->path);
}

const task_examples& task::examples_for(const session& model) {
  const graft::index_t longest = std::min<graft::index_t>(max_length_, model.longest());
  if (longest == longest_)
    return examples_;
  auto encoder = text_encoder::open(model_, model.config(), model.longest(), max_length_);
  examples_ = {encode(train_.texts, labels_, train_.path, encoder),
               encode(dev_.texts, labels_, dev_.path, encoder),
               encode(test_.texts, labels_, test_.path, encoder)};
  warning_ = encoder.warning();
  longest_ = longest;
  return examples_;
}

std::string fingerprint_of(const std::vector<graft::labelled_text>& texts) {
  if (texts.empty())
    return "";
  graft::detail::fnv1a hash;
  for (const auto& text : texts)
    for (const std::string_view part :
         {std::string_view(text.text), std::string_view(text.label)}) {
      hash.add(part.size());
      hash.add(std::as_bytes(std::span(part)));
    }
  return graft::detail::hash_text(hash);
}

std::unique_ptr<session> start(const trial& t, const task& on) {
  graft::load_options options;
  options.label_names = on.labels().labels();
  options.replace_head = true;
  options.seed = t.seed;
  return t.how->start(on.model(), options);
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

std::string reason_of(const std::exception& e) {
  std::string_view text = e.what();
  if (text.starts_with("graft: "))
    text.remove_prefix(7);
  return std::string(text);
}

std::uint64_t adapter_bytes(const std::string& folder) {
  std::uint64_t bytes = 0;
  for (const char* name : {"graft_adapter.safetensors", "graft_adapter.json"})
    bytes += std::filesystem::file_size(std::filesystem::path(folder) / name);
  return bytes;
}

}  // namespace programs
