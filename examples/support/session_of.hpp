// SPDX-License-Identifier: MIT
// The session of one tuning, for the file that puts it on the menu.
#pragma once

#include "support/session.hpp"

#include <graft/cpu.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace programs {

// A session over one backend: what another of them goes on with.
template <graft::backend B>
struct session_over : session {
  // What another tuning may take over (model/regraft.hpp).
  virtual graft::model_values<B> values(bool merge, std::vector<std::string>& merged) = 0;
};

// Has a tuning every decoration of an adapter?
template <graft::tuning Tuning>
bool has_places(const graft::adapter_data& a, graft::index_t layers) {
  for (const auto& [path, methods] : a.decorations)
    for (const auto& [method, decoration] : methods) {
      const auto form = graft::detail::form_at<Tuning>(path, method, layers);
      if (!form)
        return false;
      for (const auto& [option, value] : decoration.form)
        if (const auto ours = form->find(option); ours != form->end() && ours->second != value)
          return false;
    }
  return true;
}

template <graft::backend B, graft::tuning Tuning>
struct session_of final : session_over<B> {
  using model_type = graft::bert_classifier<B, Tuning>;
  using session::objective;
  model_type model;

  static std::unique_ptr<session> start(const std::string& base,
                                        const graft::load_options& options) {
    auto s = std::make_unique<session_of>();
    s->model = graft::load_classifier<B, Tuning>(base, options, &s->loaded);
    s->objective = graft::default_objective(s->model);
    return s;
  }
  static std::unique_ptr<session> resume(const std::string& base, const std::string& adapter) {
    auto s = std::make_unique<session_of>();
    s->model = graft::load_with_adapter<B, Tuning>(base, adapter);
    s->objective = graft::default_objective(s->model);
    return s;
  }

  static std::unique_ptr<session> hold(const std::string& base, const graft::adapter_data& a) {
    auto s = std::make_unique<session_of>();
    s->model = graft::load_with_adapter<B, Tuning>(base, a);
    s->objective = graft::default_objective(s->model);
    return s;
  }

  static std::unique_ptr<session> follow(session& before, std::uint64_t seed,
                                         const graft::regraft_options& options) {
    auto s = std::make_unique<session_of>();
    graft::regraft_report report;
    const auto values = dynamic_cast<session_over<B>&>(before).values(options.merge, report.merged);
    s->model = model_type(before.config(), before.labels(), seed, options.numbers,
                          graft::base_values::from_checkpoint);
    graft::take_values(s->model, values, options, report);
    s->loaded.fresh = report.fresh;
    s->objective = before.objective;
    return s;
  }

  const graft::bert_config& config() const override { return model.config; }
  const std::vector<std::string>& labels() const override { return model.labels; }
  graft::index_t longest() const override { return model.network.bert.longest(model.config); }
  graft::parameter_count count() const override { return graft::count_parameters(model.network); }
  std::string describe() const override {
    return graft::describe(model) + graft::describe(graft::step_memory_of(model));
  }

  struct training_of final : session_training {
    graft::training<model_type> run;

    training_of(model_type& model, std::span<const graft::example> data,
                std::span<const graft::example> dev, const graft::fit_options& options,
                const graft::task_objective& what)
        : run(model, data, dev, options, what) {}
    bool over() const override { return run.over(); }
    const graft::fit_progress& advance() override { return run.advance(); }
    graft::fit_report finish() override { return run.finish(); }
    graft::training_position position() const override { return run.position(); }
    void resume(graft::training_position at) override { run.resume(std::move(at)); }
    void begin_with_snapshots(const graft::snapshot_options& options) override {
      session_training& self = *this;
      graft::begin_with_snapshots(self, graft::state_of(run), options);
    }
    void run_with_snapshots(
        const graft::snapshot_options& options,
        const std::function<void(const graft::fit_progress&)>& observe) override {
      session_training& self = *this;
      graft::run_with_snapshots(self, graft::state_of(run), options, observe);
    }
  };
  std::unique_ptr<session_training> train(std::span<const graft::example> data,
                                          std::span<const graft::example> dev,
                                          const graft::fit_options& options) override {
    return std::make_unique<training_of>(model, data, dev, options, objective);
  }
  graft::evaluation evaluate(std::span<const graft::example> data) const override {
    return graft::evaluate(model, data, 32, objective);
  }
  std::vector<std::vector<float>> predict(std::span<const graft::example> data) const override {
    std::vector<std::vector<float>> logits(data.size());
    const bool by_token = graft::per_token(model.config.task);
    graft::for_each_prediction(model, data, 32, [&](std::uint32_t i, const auto& y, auto row) {
      const auto rows = by_token ? static_cast<graft::index_t>(data[i].ids.size()) : 1;
      logits[i].assign(&y(row, 0), &y(row, 0) + rows * y.cols);
    });
    return logits;
  }
  void save(const std::string& folder, const graft::base_identity& base,
            std::string_view name) const override {
    graft::save_adapter(model, folder, base, std::string(name));
  }
  void expect_savable() override { graft::expect_savable(model); }
  graft::model_values<B> values(bool merge, std::vector<std::string>& merged) override {
    return graft::values_of(model, merge, merged);
  }
};

// A strategy's facts together with its tuning.
template <graft::tuning Tuning>
constexpr strategy with_tuning(strategy facts) {
  using result = std::unique_ptr<session>;
  facts.start = [](const compute& c, const std::string& base,
                   const graft::load_options& options) -> result {
    return on_backend(
        c, [&]<class B>() { return session_of<B, Tuning>::start(base, options); });
  };
  facts.resume = [](const compute& c, const std::string& base,
                    const std::string& adapter) -> result {
    return on_backend(
        c, [&]<class B>() { return session_of<B, Tuning>::resume(base, adapter); });
  };
  facts.has_places = has_places<Tuning>;
  facts.hold = [](const compute& c, const std::string& base,
                  const graft::adapter_data& a) -> result {
    return on_backend(c, [&]<class B>() { return session_of<B, Tuning>::hold(base, a); });
  };
  facts.follow = [](const compute& c, session& before, std::uint64_t seed,
                    const graft::regraft_options& options) -> result {
    return on_backend(
        c, [&]<class B>() { return session_of<B, Tuning>::follow(before, seed, options); });
  };
  return facts;
}

}  // namespace programs
