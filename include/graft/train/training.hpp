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
#include <graft/train/metrics.hpp>
#include <graft/train/objective.hpp>
#include <graft/train/optimizer.hpp>
#include <graft/train/padding.hpp>
#include <graft/train/regularization.hpp>
#include <graft/train/schedule.hpp>
#include <graft/train/start.hpp>
#include <graft/train/step_work.hpp>
#include <graft/train/task_objective.hpp>
#include <graft/tuning/step_hooks.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace graft {

// Where a training stands: with training_values and the options all that is needed to go on. The next
// batch is number `batch` of the epoch's plan.
struct training_position {
  int epoch = 1;
  std::size_t batch = 0;
  std::int64_t step = 0, tokens = 0;
  double epoch_loss = 0, epoch_weight = 0;  // of this epoch so far
  int best_epoch = 0;
  bool stopped_early = false;
  std::vector<epoch_report> epochs;
};

// What the steps of a training change: tensors of `size` numbers, of which one without any is not there
// yet and may be given some, and what decorations remember.
template <class B>
struct training_values {
  index_t size = 0;
  std::vector<std::pair<std::string, typename B::parameter*>> tensors;
  std::vector<std::pair<std::string, std::vector<typename B::scalar>*>> memories;
};

namespace detail {

// A score of which more is better.
inline double monitored(const std::string& monitor, const evaluation& e) {
  if (monitor == "loss" || e.scores.empty())
    return -e.loss;
  return monitor.empty() ? e.scores.front().second : e.score(monitor);
}

// Equal scores are decided by the loss where the score need not be better by anything.
inline bool better(const fit_options& o, const evaluation& a, const evaluation& b) {
  const double now = monitored(o.monitor, a), best = monitored(o.monitor, b);
  return now > best + o.minimum_delta ||
         (o.minimum_delta == 0 && now == best && a.loss < b.loss);
}

}  // namespace detail

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
// Throws input_error for an empty training set and for examples and options that the objective cannot
// take, divergence_error when the loss is no finite number, graft::error when processes do not begin
// with the same model, data and options.
template <class Model, class Objective = default_objective_t<Model>>
class training {
 public:
  using B = typename Model::backend_type;
  using parameter = typename B::parameter;
  using input_type = typename Model::input_type;
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
    take_all_readings();
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
    for (const pending_step& p : pending_) {
      at.epoch_loss += p.loss * p.weight;
      at.epoch_weight += p.weight;
    }
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
        what_(std::move(what)) {
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
      start_ = copy_of(model.parameters.values);
    if (options_.average > 0) {
      for (const auto& l : parts_.layers)
        if (l.may->training_memory)
          throw input_error("fit_options.average: expected 0 with " + std::string(l.may->method) +
                            ", which takes from weights what an average would give back");
      average_ = copy_of(model.parameters.values);
    }
    start_hash_ = detail::hash_of_start(model, parts_, what_.numbers());
    if (options_.processes)
      detail::expect_same(
          *options_.processes,
          std::array{start_hash_, detail::hash_of_examples(train), detail::hash_of_examples(dev),
                     detail::hash_of_options(options_)},
          "model, examples, options and seed");
    const std::size_t batches = (train.size() + batch() - 1) / batch();
    now_.steps = static_cast<std::int64_t>((batches + group() - 1) / group()) * options_.epochs;
  }

  static fit_options checked(fit_options o) {
    o.check();
    return o;
  }
  std::size_t batch() const { return static_cast<std::size_t>(options_.batch); }
  std::size_t group() const { return static_cast<std::size_t>(options_.accumulate); }
  static parameter copy_of(const parameter& p) {
    parameter copy(1, p.size());
    B::copy(copy, p);
    return copy;
  }

  std::size_t ranks() const {
    return options_.processes ? static_cast<std::size_t>(options_.processes->size()) : 1;
  }
  std::size_t rank() const {
    return options_.processes ? static_cast<std::size_t>(options_.processes->rank()) : 0;
  }
  template <class T>
  void sum_over_processes(std::span<T> values) {
    if (options_.processes)
      options_.processes->sum(values);
  }

  void sum_gradient() {
    parameter& g = gradient_.values;
    if constexpr (std::is_same_v<typename parameter::value_type, typename B::scalar>) {
      sum_over_processes(std::span(g.data, static_cast<std::size_t>(g.size())));
    } else {  // beyond the host's reach
      std::vector<typename B::scalar> numbers = B::on_host(g);
      sum_over_processes(std::span(numbers));
      B::from_host(g, numbers);
    }
  }

  // A batch as the model takes it.
  struct packed_batch {
    input_type input;
    truth wanted;
    double weight = 0;
    index_t tokens = 0;
  };

  // This process's share of the chosen examples: of examples of like length each gets some.
  void pack_share(std::span<const std::uint32_t> chosen, packed_batch& p) {
    p.input.clear();
    p.wanted.clear();
    for (std::size_t at = rank(); at < chosen.size(); at += ranks()) {
      const std::uint32_t i = chosen[at];
      const example_turn turn{i, options_.seed, at_.epoch};
      if (!options_.augment) {
        what_.add(train_[i], turn, model_.config.first_position, p.input, p.wanted);
        continue;
      }
      example e = train_[i], changed = e;
      options_.augment(i, at_.epoch, changed);
      e.ids = std::move(changed.ids);
      e.types = std::move(changed.types);
      if (e.ids.empty())
        throw input_error("fit_options.augment: example " + std::to_string(i) +
                          ": expected tokens, found none left");
      what_.check(std::span(&e, 1));
      what_.add(e, turn, model_.config.first_position, p.input, p.wanted);
    }
    p.weight = what_.weight(p.wanted);
    p.tokens = p.input.rows.rows();
    if constexpr (makes_steps<B> && requires {
                    what_.pad(index_t{}, std::int32_t{}, p.input, p.wanted);
                  })
      if (options_.padded)
        for (const index_t length : padding_of(p.input.rows))
          what_.pad(length, model_.config.first_position, p.input, p.wanted);
  }

  void step() {
    const std::size_t until = std::min(at_.batch + group(), plan_.size());
    const std::size_t count = until - at_.batch;
    packed_.resize(std::max(packed_.size(), count));
    double weight = 0, tokens = 0;
    for (std::size_t b = 0; b < count; ++b) {
      pack_share(plan_[at_.batch + b], packed_[b]);
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
      sum_gradient();
    }
    expect_finite(at_.step + 1, "loss", loss);
    loss = with_penalties(loss);
    const verdict found = judge();
    expect_finite(at_.step + 1, "gradient norm", found.norm);
    now_.rate_factor = options_.rate.factor(at_.step, now_.steps);
    if constexpr (makes_steps<B>)
      method_.step(model_.parameters, gradient_.values, now_.rate_factor, state_);
    else
      method_.step(model_.parameters, gradient_.values, now_.rate_factor, found.scale);
    ++at_.step;
    after_step<typename Model::tuning_type>(model_.network, gradient_.gradient,
                                            {at_.step, now_.steps, found.scale});
    if (options_.average > 0)
      follow();
    work.end();

    at_.tokens += static_cast<std::int64_t>(tokens);
    at_.batch = until;
    now_.loss = loss;
    now_.gradient_norm = found.norm;
    pending_.push_back({at_.step, loss, found.norm, weight});
    while (!pending_.empty() && pending_.front().loss.arrived() && pending_.front().norm.arrived())
      take_reading();
  }

  // Adds the gradient of the batches' loss, each by its weight; returns that loss.
  reading add_gradient(std::span<packed_batch> batches, double weight) {
    reading_sum loss;
    for (const packed_batch& p : batches) {
      if (p.weight == 0)
        continue;
      const context<B> k{memory_, p.input.rows, true, options_.seed,
                         static_cast<std::uint64_t>(at_.step)};
      const auto outputs = model_.network.template forward<training_demand>(p.input, cache_, k);
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

  // What a step was found to be, if that is known.
  struct pending_step {
    std::int64_t step;
    reading loss, norm;
    double weight;
  };
  void take_reading() {
    const pending_step p = std::move(pending_.front());
    pending_.pop_front();
    expect_finite(p.step, "loss", p.loss);
    expect_finite(p.step, "gradient norm", p.norm);
    at_.epoch_loss += p.loss * p.weight;
    at_.epoch_weight += p.weight;
  }
  void take_all_readings() {
    while (!pending_.empty())
      take_reading();
  }
  // A scaled loss may overflow until its scale has come down.
  void expect_finite(std::int64_t step, const char* what, const reading& number) {
    if (!number.arrived())
      return;
    const bool finite = std::isfinite(number.value());
    if (detail::scales_loss<B>() && what == std::string_view("gradient norm")) {
      overflows_ = finite ? 0 : overflows_ + 1;
      if (overflows_ <= most_overflows)
        return;
    }
    if (!finite)
      throw divergence_error(step, what, number);
  }

  // w̄ = d w̄ + (1 − d) w
  void follow() {
    const double t = static_cast<double>(at_.step);
    const double d = std::min(options_.average, (1 + t) / (10 + t));
    B::scale(average_, static_cast<typename B::scalar>(d));
    B::add_scaled(average_, model_.parameters.values, static_cast<typename B::scalar>(1 - d));
  }

  void end_epoch() {
    // The steps go on with the weights of before, whatever happens meanwhile.
    struct averaged {
      parameter& values;
      parameter moving;
      ~averaged() {
        if (moving.size() > 0)
          B::copy(values, moving);
      }
    } of{model_.parameters.values, {}};
    take_all_readings();
    if (options_.average > 0) {
      of.moving = copy_of(model_.parameters.values);
      B::copy(model_.parameters.values, average_);
    }
    at_.epochs.push_back({at_.epoch,
                          at_.epoch_weight > 0 ? at_.epoch_loss / at_.epoch_weight : 0,
                          evaluate(model_, dev_, options_.evaluation_batch, what_,
                                   ranks() > 1 ? options_.processes : nullptr)});
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

  typename B::workspace memory_;
  typename Model::training_cache cache_;
  gradient_buffer<typename Model::network_type> gradient_;
  part_list<B> parts_;
  optimizer<B> method_;
  parameter best_, start_, average_;
  std::uint64_t start_hash_ = 0;
  training_position at_;

  // Of what a device makes by itself.
  static constexpr int most_overflows = 40;  // in a row: more than halvings of the loss's scale
  typename detail::step_types<B>::state state_ = detail::step_types<B>::make_state();
  mutable std::vector<typename B::scalar> step_numbers_;  // its numbers, for files
  std::deque<pending_step> pending_;  // steps whose loss or norm nobody has waited for
  int overflows_ = 0;

  batch_plan plan_;
  int plan_of_ = 0;  // the epoch that the plan is for
  std::vector<packed_batch> packed_;  // a step's
  fit_progress now_;
};

}  // namespace graft
