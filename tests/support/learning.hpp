// SPDX-License-Identifier: MIT
// The golden BERT over any backend: what it answers and how it learns.
#pragma once

#include <graft/io/pretrained.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/train/fit.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "support/catch.hpp"
#include "support/golden.hpp"

namespace graft_test::learning {

// Short texts of three classes, of which the second token tells.
inline graft::example_list texts(std::size_t n, std::uint64_t seed = 3) {
  graft::random_stream random(seed);
  graft::example_list data(n);
  for (graft::example& e : data) {
    e.label = static_cast<std::int32_t>(random.below(3));
    e.ids = {1, 2 + e.label};
    for (std::uint64_t left = random.below(9); left > 0; --left)
      e.ids.push_back(static_cast<std::int32_t>(5 + random.below(15)));
  }
  return data;
}

template <class B, class T>
graft::bert_classifier<B, T> loaded() {
  return graft::bert_classifier<B, T>::load(golden_path("bert"), {.seed = 5});
}

template <class Model>
std::vector<double> logits(const Model& model, const graft::example_list& data) {
  std::vector<double> all;
  graft::for_each_prediction(model, data, 4, [&](auto, const auto& y, graft::index_t row) {
    for (graft::index_t c = 0; c < y.cols; ++c)
      all.push_back(static_cast<double>(y(row, c)));
  });
  return all;
}

template <class Model>
std::vector<double> trained(const Model& model) {
  const auto values = Model::backend_type::on_host(model.parameters.values);
  return {values.begin(), values.end()};
}

// The largest difference, relative to the largest number.
inline double distance(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double most = 0, size = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    most = std::max(most, std::abs(a[i] - b[i]));
    size = std::max(size, std::abs(b[i]));
  }
  return most / size;
}

// Of three epochs, while training and on `data`.
template <class Model>
std::vector<double> losses(Model& model, const graft::example_list& data) {
  graft::fit_options options;
  options.epochs = 3;
  options.batch = 4;
  options.clip = 1;
  options.method = graft::adamw{.rate = 2e-3};
  std::vector<double> all;
  for (const graft::epoch_report& e : graft::fit(model, data, data, options).epochs) {
    all.push_back(e.train_loss);
    all.push_back(e.dev.loss);
  }
  return all;
}

}  // namespace graft_test::learning
