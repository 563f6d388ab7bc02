// SPDX-License-Identifier: MIT
// Fine-tuning step by step: a training that can be watched, stopped, written down and taken up again.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/part_list.hpp>
#include <graft/core/reading.hpp>
#include <graft/core/store.hpp>
#include <graft/model/model.hpp>
#include <graft/train/evaluate.hpp>
#include <graft/train/examples.hpp>
#include <graft/train/fit_options.hpp>
#include <graft/train/frozen_part.hpp>
#include <graft/train/objective.hpp>
#include <graft/train/optimizer.hpp>
#include <graft/train/packed_batch.hpp>
#include <graft/train/pending_steps.hpp>
#include <graft/train/regularization.hpp>
#include <graft/train/schedule.hpp>
#include <graft/train/start.hpp>
#include <graft/train/step_work.hpp>
#include <graft/train/task_objective.hpp>
#include <graft/train/training_position.hpp>
#include <graft/train/weight_average.hpp>
#include <graft/tuning/step_hooks.hpp>

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace graft {

// Trains a model's trained parameters on `train` for an objective (train/objective.hpp) and evaluates
// on `dev` after every epoch; in the end the parameters of the best epoch are left in the model, of the
// last one where `dev` is empty.
//
// A step's loss is the mean over its examples, by their weights, however many batches it accumulates
// and processes share them, and the penalties of methods and options that have one. Equal seeds give
// equal runs, bit for bit, on one machine, engine, thread and process count, wherever they were
// interrupted. Of several processes each computes a share of every batch; what travels are the
// gradients of what is trained, two numbers per step and the outputs on `dev`: up to rounding it is the
// run of a single process, and in each of them the same. Model and examples must outlive it.
//
// What the part below everything trained makes of an example is computed once and kept, where it would be
// the same in every epoch and the options give it room (train/frozen_part.hpp): up to rounding, that is the
// run without. finish() tells.
//
// Throws input_error for an empty training set and for examples and options that the objective cannot
// take, divergence_error when the loss is no finite number, graft::error when processes do not begin
// with the same model, data and options.
template <class Model, class Objective = default_objective_t<Model>>
class training {
 public:
  using B = typename Model::backend_type;
  using parameter = typename B::parameter;
  using input_type = typename Model::input_type;
  using packed_batch = detail::packed_batch<input_type>;
  static_assert(objective<Objective, B, input_type>,
                "graft: training: the objective must have the members that train/objective.hpp names");

  training(Model& model, std::span<const example> train, std::span<const example> dev,
           fit_options options)
    requires std::same_as<Objective, default_objective_t<Model>>
      : training(model, train, dev, options, default_objective(model, options.loss), true) {}
  // An objective of its own knows its loss: options.loss is to be left alone.
  training(Model& model, std::span<const example> train, std::span<const example> dev,
           fit_options options, Objective what)
      : training(model, train, dev, std::move(options), std::move(what), false) {}
  training(training&&) = delete;  // parts_ points into it

  bool over() const { return at_.epoch > options_.epochs || at_.stopped_early; }

  // The next optimizer step or, after an epoch's last, its evaluation. Says what was done: `dev` is
  // set by evaluations.
  const fit_progress& advance() {
    if (plan_of_ != at_.epoch) {
      plan_ = plan_epoch(train_, batch(), options_.seed, static_cast<std::uint64_t>(at_.epoch),
                         options_.bucketed);
      plan_of_ = at_.epoch;
    }
    now_.epoch = at_.epoch;
    now_.dev = nullptr;
    if (at_.batch < plan_.size())
      step();
    else
      end_epoch();
    now_.step = at_.step;
    now_.tokens = at_.tokens;
    return now_;
  }

  // Leaves the best epoch's parameters in the model; says how it went.
  fit_report finish() {
    pending_.take_all(to_epoch(at_));
    if (best_.size() > 0)
      B::copy(model_.parameters.values, best_);
    fit_report r;
    r.epochs = at_.epochs;
    r.best_epoch = at_.best_epoch;
    r.stopped_early = at_.stopped_early;
    r.steps = at_.step;
    r.tokens = at_.tokens;
    r.gradient_bytes =
        static_cast<std::size_t>(gradient_.values.size()) * sizeof(typename B::scalar);
    r.optimizer_bytes = method_.state_bytes();
    r.workspace_peak_bytes = memory_.peak_bytes();
    const auto &train = frozen_train_.kept(), &dev = frozen_dev_.kept();
    r.kept = {frozen_train_.why(), frozen_dev_.why(), train.examples() + dev.examples(),
              train.bytes() + dev.bytes()};
    return r;
  }

  const fit_options& options() const { return options_; }
  std::span<const example> train() const { return train_; }
  std::span<const example> dev() const { return dev_; }
  const Model& model() const { return model_; }
  const Objective& what() const { return what_; }
  // Of the model as the training found it: frozen and trained values (a part of large ones), the numbers
  // of decorations, the seed, dropout. Equal hashes and options make equal runs.
  std::uint64_t start_hash() const { return start_hash_; }

  // --- to be written down and taken up again (io/snapshot.hpp) ---

  training_position position() const {
    training_position at = at_;
    pending_.for_each(to_epoch(at));
    if constexpr (makes_steps<B>) {
      const auto numbers = state_.numbers();
      step_numbers_.assign(numbers.begin(), numbers.end());
    }
    return at;
  }
  // To be called before any step, the values filled beforehand.
  void resume(training_position at) {
    at_ = std::move(at);
    method_.resume(at_.step);
    if constexpr (makes_steps<B>) {
      auto numbers = state_.numbers();
      numbers.back() = static_cast<typename B::scalar>(at_.step);
      if (step_numbers_.size() == numbers.size())
        std::copy(step_numbers_.begin(), step_numbers_.end(), numbers.begin());
      state_.set(numbers);
    }
  }
  // They hold while the training lives.
  training_values<B> values() {
    training_values<B> v;
    v.size = model_.parameters.size();
    const auto add = [&](std::string_view name, parameter& p) {
      v.tensors.emplace_back(std::string(name), &p);
    };
    add("parameters", model_.parameters.values);
    method_.for_each_state(add);
    add("best", best_);
    add("average", average_);
    for (const auto& l : parts_.layers)
      if (l.may->training_memory)
        l.may->training_memory(l.layer, [&](std::string_view name, auto& numbers) {
          v.memories.emplace_back(detail::joined(l.path, name), &numbers);
        });
    if (detail::scales_loss<B>())
      v.memories.emplace_back("loss_scale", &step_numbers_);
    return v;
  }

 private:
  training(Model& model, std::span<const example> train, std::span<const example> dev,
           fit_options options, Objective what, bool knows_loss)
      : model_(model),
        train_(train),
        dev_(dev),
        options_(checked(std::move(options))),
        what_(std::move(what)),
        frozen_train_(model, what_, train),
        frozen_dev_(model, what_, dev) {
    if (train.empty())
      throw input_error("fit: expected training examples, found none");
    if (!knows_loss && (!options_.loss.class_weights.empty() || options_.loss.smoothing != 0))
      throw input_error("fit_options.loss: expected nothing beside an objective, which has its own");
    what_.check(train);
    what_.check(dev);
    if (!options_.monitor.empty() && options_.monitor != "loss")
      what_.evaluate({}).score(options_.monitor);  // there must be one
    if (ranks() > 1 && !what_.separable())
      throw input_error("fit_options.processes: expected an objective whose batches can be shared out");
    gradient_ = make_gradient(model.network, model.parameters);
    parts_ = list_parts(model.network, gradient_.gradient);
    method_ = optimizer<B>(options_.method, model.parameters, options_.decay_everything,
                           layer_rates(model.parameters.segments, detail::layers_of(parts_),
                                       options_.layer_decay));
    if (options_.l2_start > 0)
      start_ = detail::copy_of<B>(model.parameters.values);
    if (options_.average > 0) {
      for (const auto& l : parts_.layers)
        if (l.may->training_memory)
          throw input_error("fit_options.average: expected 0 with " + std::string(l.may->method) +
                            ", which takes from weights what an average would give back");
      average_ = detail::copy_of<B>(model.parameters.values);
    }
    start_hash_ = detail::hash_of_start(model, parts_, what_.numbers());
    if (options_.processes)
      detail::expect_same(
          *options_.processes,
          std::array{start_hash_, detail::hash_of_examples(train), detail::hash_of_examples(dev),
                     detail::hash_of_options(options_)},
          "model, examples, options and seed");
    frozen_train_.keep(options_, true, options_.keep_frozen);
    frozen_dev_.keep(options_, false, options_.keep_frozen - frozen_train_.kept().room());
    const std::size_t batches = (train.size() + batch() - 1) / batch();
    now_.steps = static_cast<std::int64_t>((batches + group() - 1) / group()) * options_.epochs;
  }

  static fit_options checked(fit_options o) {
    o.check();
    return o;
  }
  std::size_t batch() const { return static_cast<std::size_t>(options_.batch); }
  std::size_t group() const { return static_cast<std::size_t>(options_.accumulate); }
  std::size_t ranks() const {
    return options_.processes ? static_cast<std::size_t>(options_.processes->size()) : 1;
  }
  template <class T>
  void sum_over_processes(std::span<T> values) {
    if (options_.processes)
      options_.processes->sum(values);
  }

  void step() {
    const std::size_t until = std::min(at_.batch + group(), plan_.size());
    const std::size_t count = until - at_.batch;
    packed_.resize(std::max(packed_.size(), count));
    double weight = 0, tokens = 0;
    for (std::size_t b = 0; b < count; ++b) {
      detail::pack_share<B>(train_, plan_[at_.batch + b], at_.epoch, options_, what_,
                            model_.config.first_position, packed_[b]);
      weight += packed_[b].weight;
      tokens += static_cast<double>(packed_[b].tokens);
    }
    sum_over_processes(std::span(&weight, 1));

    typename detail::step_types<B>::step work;
    gradient_.clear();
    reading loss = add_gradient(std::span(packed_).first(count), weight);
    if (ranks() > 1) {
      std::array<double, 2> sums{loss, tokens};
      sum_over_processes(std::span<double>(sums));
      loss = sums[0];
      tokens = sums[1];
      sum_values<B>(*options_.processes, gradient_.values);
    }
    pending_.expect_finite_loss(at_.step + 1, loss);
    loss = with_penalties(loss);
    const verdict found = judge();
    pending_.expect_finite_norm(at_.step + 1, found.norm);
    now_.rate_factor = options_.rate.factor(at_.step, now_.steps);
    if constexpr (makes_steps<B>)
      method_.step(model_.parameters, gradient_.values, now_.rate_factor, state_);
    else
      method_.step(model_.parameters, gradient_.values, now_.rate_factor, found.scale);
    ++at_.step;
    after_step<typename Model::tuning_type>(model_.network, gradient_.gradient,
                                            {at_.step, now_.steps, found.scale});
    if (options_.average > 0)
      detail::follow<B>(average_, model_.parameters.values, options_.average, at_.step);
    work.end();

    at_.tokens += static_cast<std::int64_t>(tokens);
    at_.batch = until;
    now_.loss = loss;
    now_.gradient_norm = found.norm;
    pending_.add(at_.step, loss, found.norm, weight);
    pending_.take_arrived(to_epoch(at_));
  }

  // Adds the gradient of the batches' loss, each by its weight; returns that loss.
  reading add_gradient(std::span<packed_batch> batches, double weight) {
    reading_sum loss;
    for (const packed_batch& p : batches) {
      if (p.weight == 0)
        continue;
      const context<B> k{memory_, p.input.rows, true, options_.seed,
                         static_cast<std::uint64_t>(at_.step)};
      const auto outputs =
          frozen_train_.template forward<training_demand>(p.examples, p.input, cache_, k);
      auto r = what_.template loss<B>(outputs, p.input, p.wanted, k);
      const double share = p.weight / weight;
      if (share != 1)
        B::scale(r.gradient, static_cast<typename B::scalar>(share));
      if constexpr (detail::scales_loss<B>())
        B::scale_loss(r.gradient, state_);
      loss.add(share, r.loss);
      model_.network.template backward<training_demand>(std::move(r.gradient), cache_,
                                                        &gradient_.gradient, k);
    }
    cache_ = typename Model::training_cache{};  // the next step finds all its memory free, as this one did
    if constexpr (detail::scales_loss<B>())
      B::unscale(gradient_.values, state_);
    return std::move(loss).sum();
  }

  reading with_penalties(const reading& loss) {
    double more = add_penalties(parts_);
    if (options_.l2 > 0)
      more += add_pull<B>(gradient_.values, model_.parameters, nullptr, options_.l2,
                          options_.decay_everything, memory_);
    if (options_.l2_start > 0)
      more += add_pull<B>(gradient_.values, model_.parameters, &start_, options_.l2_start,
                          options_.decay_everything, memory_);
    reading_sum sum;
    sum.add(1, loss);
    sum.add(1, more);
    return std::move(sum).sum();
  }

  struct verdict {
    reading norm, scale;
  };
  verdict judge() {
    if constexpr (makes_steps<B>) {
      const auto [beta1, beta2] = method_.betas();
      auto found = B::judge(state_, gradient_.values, options_.clip, beta1, beta2);
      return {std::move(found.norm), std::move(found.scale)};
    } else {
      const double norm = gradient_norm<B>(gradient_.values);
      return {norm, clip_factor(norm, options_.clip)};
    }
  }

  // Adds a step to the sums of its epoch.
  static auto to_epoch(training_position& at) {
    return [&at](double loss, double weight) {
      at.epoch_loss += loss * weight;
      at.epoch_weight += weight;
    };
  }

  void end_epoch() {
    pending_.take_all(to_epoch(at_));
    const detail::averaged<B> weights(model_.parameters.values, average_);
    at_.epochs.push_back({at_.epoch,
                          at_.epoch_weight > 0 ? at_.epoch_loss / at_.epoch_weight : 0,
                          detail::evaluate(model_, dev_, options_.evaluation_batch, what_,
                                           ranks() > 1 ? options_.processes : nullptr,
                                           [&](const auto& chosen, const auto& input, auto& memory) {
                                             return frozen_dev_.predicted(chosen, input, memory);
                                           })});
    const evaluation& scored = at_.epochs.back().dev;
    now_.dev = &scored;
    if (at_.best_epoch == 0 || dev_.empty() ||
        detail::better(options_, scored,
                       at_.epochs[static_cast<std::size_t>(at_.best_epoch) - 1].dev)) {
      at_.best_epoch = at_.epoch;
      if (model_.parameters.size() > 0) {
        if (best_.size() == 0)
          best_ = parameter(1, model_.parameters.size());
        B::copy(best_, model_.parameters.values);
      }
    } else if (options_.patience > 0 && at_.epoch - at_.best_epoch >= options_.patience) {
      at_.stopped_early = true;
    }
    ++at_.epoch;
    at_.batch = 0;
    at_.epoch_loss = at_.epoch_weight = 0;
  }

  Model& model_;
  std::span<const example> train_, dev_;
  fit_options options_;
  Objective what_;
  detail::frozen_part<Model, Objective> frozen_train_, frozen_dev_;

  typename B::workspace memory_;
  typename Model::training_cache cache_;
  gradient_buffer<typename Model::network_type> gradient_;
  part_list<B> parts_;
  optimizer<B> method_;
  parameter best_, start_, average_;
  std::uint64_t start_hash_ = 0;
  training_position at_;

  // Of what a device makes by itself.
  typename detail::step_types<B>::state state_ = detail::step_types<B>::make_state();
  mutable std::vector<typename B::scalar> step_numbers_;  // its numbers, for files
  detail::pending_steps pending_{detail::scales_loss<B>()};

  batch_plan plan_;
  int plan_of_ = 0;  // the epoch that the plan is for
  std::vector<packed_batch> packed_;  // a step's
  fit_progress now_;
};

}  // namespace graft
