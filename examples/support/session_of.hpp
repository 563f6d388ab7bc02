// SPDX-License-Identifier: MIT
// The session of one tuning, for the file that puts it on the menu.
#pragma once

#include "support/session.hpp"

#include <graft/cpu.hpp>

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace programs {

template <graft::tuning Tuning>
struct session_of final : session {
  using backend = graft::cpu<float>;
  graft::bert_classifier<backend, Tuning> model;

  static std::unique_ptr<session> start(const std::string& base,
                                        const graft::load_options& options) {
    auto s = std::make_unique<session_of>();
    s->model = graft::load_classifier<backend, Tuning>(base, options, &s->loaded);
    return s;
  }
  static std::unique_ptr<session> resume(const std::string& base, const std::string& adapter) {
    auto s = std::make_unique<session_of>();
    s->model = graft::load_with_adapter<backend, Tuning>(base, adapter);
    return s;
  }

  const graft::bert_config& config() const override { return model.config; }
  const std::vector<std::string>& labels() const override { return model.labels; }
  graft::index_t longest() const override { return model.network.bert.longest(model.config); }
  graft::parameter_count count() const override { return graft::count_parameters(model.network); }
  std::string describe() const override { return graft::describe(model); }

  graft::fit_report fit(std::span<const graft::example> train, std::span<const graft::example> dev,
                        const graft::fit_options& options,
                        const std::function<void(const graft::fit_progress&)>& observe) override {
    return graft::fit(model, train, dev, options, observe);
  }
  graft::evaluation evaluate(std::span<const graft::example> data) const override {
    return graft::evaluate(model, data);
  }
  std::vector<std::vector<float>> predict(std::span<const graft::example> data) const override {
    std::vector<std::vector<float>> logits(data.size());
    graft::for_each_prediction(model, data, 32, [&](std::uint32_t i, const auto& y, auto row) {
      for (graft::index_t c = 0; c < y.cols; ++c)
        logits[i].push_back(y(row, c));
    });
    return logits;
  }
  void save(const std::string& folder, const graft::base_identity& base,
            std::string_view name) const override {
    graft::save_adapter(model, folder, base, std::string(name));
  }
};

// A strategy's facts together with its tuning.
template <graft::tuning Tuning>
constexpr strategy with_tuning(strategy facts) {
  facts.start = session_of<Tuning>::start;
  facts.resume = session_of<Tuning>::resume;
  return facts;
}

}  // namespace programs
