// SPDX-License-Identifier: MIT
// Fine-tuning: epochs of packed batches, evaluation after each, the best epoch's weights at the end.
#pragma once

#include <graft/train/evaluate.hpp>
#include <graft/train/examples.hpp>
#include <graft/train/training.hpp>

#include <concepts>
#include <span>
#include <utility>

namespace graft {

// A whole training (train/training.hpp). `observe(fit_progress)` is called as described there.
template <class Model, std::invocable<const fit_progress&> Observer>
fit_report fit(Model& model, std::span<const example> train, std::span<const example> dev,
               const fit_options& options, Observer&& observe) {
  training<Model> run(model, train, dev, options);
  while (!run.over())
    observe(run.advance());
  return run.finish();
}

template <class Model>
fit_report fit(Model& model, std::span<const example> train, std::span<const example> dev,
               const fit_options& options = {}) {
  return fit(model, train, dev, options, [](const fit_progress&) {});
}

// … for an objective of the caller's.
template <class Model, class Objective, std::invocable<const fit_progress&> Observer>
fit_report fit(Model& model, std::span<const example> train, std::span<const example> dev,
               const fit_options& options, const Objective& what, Observer&& observe) {
  training<Model, Objective> run(model, train, dev, options, what);
  while (!run.over())
    observe(run.advance());
  return run.finish();
}

template <class Model, class Objective>
  requires(!std::invocable<Objective&, const fit_progress&>)
fit_report fit(Model& model, std::span<const example> train, std::span<const example> dev,
               const fit_options& options, const Objective& what) {
  return fit(model, train, dev, options, what, [](const fit_progress&) {});
}

}  // namespace graft
