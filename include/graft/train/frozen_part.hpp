// SPDX-License-Identifier: MIT
// What lies below everything that is trained makes the same rows of an example in every epoch: they are
// computed once and kept.
#pragma once

#include <graft/core/context.hpp>
#include <graft/core/host_matrix.hpp>
#include <graft/model/model.hpp>
#include <graft/train/examples.hpp>
#include <graft/train/fit_options.hpp>
#include <graft/train/kept_rows.hpp>
#include <graft/train/objective.hpp>
#include <graft/train/step_work.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace graft::detail {

// Can a network be run in two parts (model/bert.hpp)?
template <class Network>
concept begins_frozen = requires { requires Network::begins_frozen; };

// Does what it makes of an example stay the same (train/objective.hpp)?
template <class Objective>
concept same_each_epoch = requires { requires Objective::same_each_epoch; };

// The network over the examples of one data set.
//
// Rows are computed by the groups that plan_evaluation makes of the examples, whichever of a group is the
// first to be wanted: a row's last bits, which may depend on what it is computed with, do not depend on
// when that is. There is room for the groups of the longest examples, until the budget is spent; of a
// batch's other examples the rows are computed each time, together. Model and data must outlive it.
template <class Model, class Objective>
class frozen_part {
 public:
  using B = typename Model::backend_type;
  using network_type = typename Model::network_type;
  using input_type = typename Model::input_type;
  using tensor = typename B::tensor;
  static constexpr bool possible = begins_frozen<network_type> && !makes_steps<B>;

  frozen_part(const Model& model, const Objective& what, std::span<const example> data)
      : model_(model), what_(what), data_(data) {}

  // To be called once, where anything is to be kept: no more than `budget` bytes, of examples that are
  // trained on or only evaluated, and that the objective can take.
  void keep(const fit_options& options, bool trained_on, std::size_t budget) {
    why_ = reason(options, trained_on);
    if constexpr (possible) {
      if (why_ != keeping::on)
        return;
      std::vector<index_t> rows;
      for (std::uint32_t i = 0; i < data_.size(); ++i) {
        pack(std::span(&i, 1));
        rows.push_back(model_.network.frozen_rows(input_.rows));
      }
      const int group = trained_on ? options.batch : options.evaluation_batch;
      kept_ = {plan_evaluation(data_, static_cast<std::size_t>(group)), std::move(rows),
               model_.config.width, budget, options.keep_frozen_in};
      if (!kept_.has_room())
        why_ = keeping::no_room;
    }
  }

  keeping why() const { return why_; }
  const kept_rows<typename B::scalar>& kept() const { return kept_; }

  // model.network.forward<D>(input, cache, k), with `input` made of the chosen examples.
  template <demand D>
  tensor forward(std::span<const std::uint32_t> chosen, const input_type& input,
                 cache_t<network_type, D>& cache, const context<B>& k) {
    if constexpr (possible)
      if (std::any_of(chosen.begin(), chosen.end(), [&](auto i) { return kept_.has_room(i); }))
        return model_.network.template forward_above<D>(rows(chosen, k.memory), input, cache, k);
    return model_.network.template forward<D>(input, cache, k);
  }
  // predicted(model, input, memory) likewise.
  host_matrix<typename B::scalar> predicted(std::span<const std::uint32_t> chosen,
                                            const input_type& input, typename B::workspace& memory) {
    if constexpr (possible) {
      cache_t<network_type, inference_demand> none;
      const context<B> k{memory, input.rows};
      return read_matrix<B>(forward<inference_demand>(chosen, input, none, k));
    } else {
      return detail::predicted(model_, input, memory);
    }
  }

 private:
  keeping reason(const fit_options& options, [[maybe_unused]] bool trained_on) {
    if (options.keep_frozen == 0)
      return keeping::not_asked;
    if (data_.empty())
      return keeping::no_examples;
    if (options.epochs < 2)
      return keeping::one_epoch;
    if (options.processes && options.processes->size() > 1)
      return keeping::processes;
    if constexpr (makes_steps<B>)
      return keeping::device;
    if constexpr (!begins_frozen<network_type>) {
      return requires { network_type::begins_frozen; } ? keeping::nothing_frozen : keeping::one_part;
    } else {
      if (model_.network.frozen_layers() == 0)
        return keeping::nothing_frozen;
      if (trained_on) {
        if (options.augment)
          return keeping::augmented;
        if (!same_each_epoch<Objective>)
          return keeping::by_chance;
        if (dropout_acts())
          return keeping::dropout;
      }
      return keeping::on;
    }
  }

  // Found out with an example of each task, sent through as in training.
  bool dropout_acts() {
    std::vector<std::uint32_t> tasks, chosen;
    for (std::uint32_t i = 0; i < data_.size(); ++i) {
      const std::uint32_t task = data_[i].task;
      if (data_[i].ids.empty() || std::find(tasks.begin(), tasks.end(), task) != tasks.end())
        continue;
      tasks.push_back(task);
      chosen.push_back(i);
    }
    if (chosen.empty())
      return false;
    typename B::workspace memory;
    bool draws = false;
    compute(chosen, memory, &draws);
    return draws;
  }

  void pack(std::span<const std::uint32_t> chosen) {
    input_.clear();
    truth_.clear();
    for (const std::uint32_t i : chosen)
      what_.add(data_[i], {.number = i}, model_.config.first_position, input_, truth_);
  }
  // With `draws`, as in training, and it says whether dropout acts.
  tensor compute(std::span<const std::uint32_t> chosen, typename B::workspace& memory,
                 bool* draws = nullptr) {
    pack(chosen);
    cache_t<network_type, inference_demand> none;
    context<B> k{memory, input_.rows, draws != nullptr};
    k.draws = draws;
    return model_.network.template forward_below<inference_demand>(input_, none, k);
  }

  tensor rows(std::span<const std::uint32_t> chosen, typename B::workspace& memory) {
    index_t count = 0;
    others_.clear();
    for (const std::uint32_t i : chosen) {
      count += kept_.rows(i);
      if (!kept_.has_room(i))
        others_.push_back(i);
      else if (!kept_.has(i))
        kept_.fill(i, B::on_host(compute(kept_.group_of(i), memory)));
    }
    tensor all = B::make(memory, count, kept_.width()), computed;
    if (!others_.empty())
      computed = compute(others_, memory);
    index_t row = 0, next = 0;
    for (const std::uint32_t i : chosen) {
      const index_t n = kept_.rows(i);
      if (n == 0)
        continue;
      const auto place = all.rows_of(row, n);
      row += n;
      if (kept_.has_room(i)) {
        B::from_host(place, kept_[i]);
      } else {
        B::copy(place, computed.rows_of(next, n));
        next += n;
      }
    }
    return all;
  }

  const Model& model_;
  const Objective& what_;
  std::span<const example> data_;
  input_type input_;
  truth truth_;
  keeping why_ = keeping::not_asked;
  kept_rows<typename B::scalar> kept_;
  std::vector<std::uint32_t> others_;  // of a batch, those that there is no room for
};

}  // namespace graft::detail
