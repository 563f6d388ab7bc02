// SPDX-License-Identifier: MIT
// A budget of ranks for a whole network, spent where they matter most.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/host_matrix.hpp>
#include <graft/core/parts.hpp>
#include <graft/core/view.hpp>
#include <graft/tuning/step_hooks.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace graft {

// How the budget shrinks: from all ranks after `warmup` steps to target_rank for each layer when
// `settle` steps are left, with the cube of the share of steps between; allocated every `interval`
// steps. Importance is smoothed by beta1, its uncertainty by beta2.
struct rank_schedule {
  int target_rank = 8, warmup = 0, settle = 0, interval = 1;
  float beta1 = 0.85f, beta2 = 0.85f;

  // Of `all` ranks in `layers` layers, those left at a step counted from 0; `last` is the step
  // after which they do not change.
  index_t budget(std::int64_t step, std::int64_t last, index_t all, index_t layers) const {
    if (step <= warmup)
      return all;
    const double target = static_cast<double>(target_rank) * static_cast<double>(layers);
    const double left = 1 - static_cast<double>(step - warmup) / static_cast<double>(last - warmup);
    return static_cast<index_t>((static_cast<double>(all) - target) * (left * left * left) +
                                target);
  }
};

// How much the ranks of one layer B diag(e) A matter, for every element w of A, e and B with
// gradient g:
//   i = |w g|,  I = β₁ I + (1 − β₁) i,  U = β₂ U + (1 − β₂) |i − I|
// and for a rank the sum of I U of its e and the means of I U over its row of A and column of B.
// Zhang et al. 2023, arXiv:2303.10512.
template <class T>
class rank_importance {
 public:
  // w after the step, g what the optimizer saw.
  template <class Layer, class Gradient>
  void observe(const Layer& w, const Gradient& g, double gradient_scale, const rank_schedule& s) {
    using B = typename Layer::backend_type;
    a_.template observe<B>(w.a, g.a, gradient_scale, s);
    e_.template observe<B>(w.e, g.e, gradient_scale, s);
    b_.template observe<B>(w.b, g.b, gradient_scale, s);
  }
  template <class Layer>
  std::vector<T> scores(const Layer& w) const {
    std::vector<T> score(static_cast<std::size_t>(w.rank()), T(0));
    for (index_t k = 0; k < w.rank(); ++k) {
      T of_a = 0, of_b = 0;
      for (index_t j = 0; j < w.a.cols; ++j)
        of_a += a_.score(k * w.a.cols + j);
      for (index_t i = 0; i < w.b.rows; ++i)
        of_b += b_.score(i * w.b.cols + k);
      score[static_cast<std::size_t>(k)] =
          e_.score(k) + of_a / static_cast<T>(w.a.cols) + of_b / static_cast<T>(w.b.rows);
    }
    return score;
  }

  // From now on the ranks with greater scores are kept.
  template <class Layer>
  void keep_above(T threshold, const Layer& w) {
    kept_.clear();
    for (T score : scores(w))
      kept_.push_back(score > threshold ? T(1) : T(0));
  }
  // f(name, vector) for all it remembers.
  template <class F>
  void for_each_memory(F&& f) {
    for (auto& [name, of] : {std::pair{"a", &a_}, {"e", &e_}, {"b", &b_}}) {
      f(std::string(name) + ".importance", of->importance);
      f(std::string(name) + ".uncertainty", of->uncertainty);
    }
    f(std::string("kept"), kept_);
  }

  // Sets e to zero where a rank is not kept.
  template <class Layer>
  void mask(Layer& w) const {
    using B = typename Layer::backend_type;
    const auto ranks = std::min(kept_.size(), static_cast<std::size_t>(w.rank()));
    auto numbers = B::on_host(w.e);
    for (std::size_t k = 0; k < ranks; ++k)
      if (kept_[k] == 0)
        numbers[k] = 0;
    B::from_host(w.e, numbers);
  }

 private:
  struct smoothed {
    std::vector<T> importance, uncertainty;

    template <class B, class P>
    void observe(const P& w, const P& g, double gradient_scale, const rank_schedule& s) {
      const host_numbers<B> weight(w), slope(g);
      const T b1 = static_cast<T>(s.beta1), b2 = static_cast<T>(s.beta2);
      importance.resize(static_cast<std::size_t>(w.size()), T(0));
      uncertainty.resize(importance.size(), T(0));
      for (std::size_t j = 0; j < importance.size(); ++j) {
        const T i = std::abs(weight[j] * slope[j] * static_cast<T>(gradient_scale));
        importance[j] = b1 * importance[j] + (1 - b1) * i;
        uncertainty[j] = b2 * uncertainty[j] + (1 - b2) * std::abs(i - importance[j]);
      }
    }
    T score(index_t j) const {
      const auto at = static_cast<std::size_t>(j);
      return at < importance.size() ? importance[at] * uncertainty[at] : T(0);
    }
  };

  smoothed a_, e_, b_;
  std::vector<T> kept_;  // 1 for a rank that is kept, 0 for one that is not
};

// Follows the ranks of all layers with `importance` and `schedule` through a step, and takes away
// those over the budget. Throws input_error when the run is too short for the schedule.
template <class Network, class Gradient>
void allocate_ranks(Network& network, const Gradient& gradient, const training_step& step) {
  const auto for_each = [&](auto&& f) {
    for_each_trained_layer(network, gradient, [&](auto& layer, auto& mirror) {
      if constexpr (requires { layer.importance.scores(layer); })
        f(layer, mirror);
    });
  };
  index_t all = 0, layers = 0;
  rank_schedule schedule;
  for_each([&](auto& layer, auto&) {
    if (layers++ == 0)
      schedule = layer.schedule;
    all += layer.rank();
  });
  if (layers == 0)
    return;
  const std::int64_t now = step.number - 1, last = step.steps - schedule.settle;
  if (last <= schedule.warmup)
    throw input_error("adalora: expected a run of more than warmup + settle = " +
                      std::to_string(schedule.warmup + schedule.settle) + " steps, found " +
                      std::to_string(step.steps));
  for_each([&](auto& layer, auto& mirror) {
    if (now == 0)
      layer.importance = {};  // a run of its own
    if (now < last)
      layer.importance.observe(layer, mirror, step.gradient_scale, schedule);
  });
  const bool allocates =
      now == last || (now > schedule.warmup && now < last && now % schedule.interval == 0);
  if (!allocates) {
    if (now > last)
      for_each([](auto& layer, auto&) { layer.importance.mask(layer); });
    return;
  }
  std::vector<double> scores;
  for_each([&](auto& layer, auto&) {
    const auto own = layer.importance.scores(layer);
    scores.insert(scores.end(), own.begin(), own.end());
  });
  const index_t over = all - schedule.budget(now, last, all, layers);
  if (over <= 0)
    return;
  std::nth_element(scores.begin(), scores.begin() + (over - 1), scores.end());
  const double threshold = scores[static_cast<std::size_t>(over) - 1];
  for_each([&](auto& layer, auto&) {
    using scalar = typename std::remove_cvref_t<decltype(layer)>::scalar;
    layer.importance.keep_above(static_cast<scalar>(threshold), layer);
    layer.importance.mask(layer);
  });
}

}  // namespace graft
