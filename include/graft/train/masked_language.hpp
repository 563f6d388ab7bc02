// SPDX-License-Identifier: MIT
// Training a masked language model: tokens are hidden, the model says which they were.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/random.hpp>
#include <graft/model/masked_language_model.hpp>
#include <graft/train/examples.hpp>
#include <graft/train/fit.hpp>
#include <graft/train/loss.hpp>
#include <graft/train/optimizer.hpp>
#include <graft/train/schedule.hpp>
#include <graft/tuning/step_hooks.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

namespace graft {

// How tokens are hidden. Of the tokens asked for, `masked` become `mask_id`, `random` become any
// token of the vocabulary, the others stay. Devlin et al. 2019, arXiv:1810.04805.
struct masking {
  std::int32_t mask_id = 0;
  std::int32_t vocabulary = 0;
  std::vector<std::int32_t> special{};  // ids that are neither asked for nor put in
  double share = 0.15;                  // of a text's tokens, at least one where there is any
  double masked = 0.8;
  double random = 0.1;

  bool is_special(std::int32_t id) const {
    return std::find(special.begin(), special.end(), id) != special.end();
  }
};

// Packs the chosen examples into `batch` with tokens hidden, and says in `truth` which token stood
// at each of batch.places. What is hidden in an example depends on `seed`, `epoch` and the
// example's number alone. Throws input_error for a vocabulary without any token that may be put in.
inline void pack_masked(std::span<const example> data, std::span<const std::uint32_t> chosen,
                        std::int32_t first_position, const masking& how, std::uint64_t seed,
                        std::uint64_t epoch, masked_batch& batch,
                        std::vector<std::int32_t>& truth) {
  if (how.vocabulary <= static_cast<std::int32_t>(how.special.size()))
    throw input_error("masking: expected a vocabulary of more than the " +
                      std::to_string(how.special.size()) + " special tokens, found " +
                      std::to_string(how.vocabulary));
  pack(data, chosen, first_position, batch.tokens);
  batch.places.clear();
  truth.clear();
  std::vector<std::int32_t> places;
  for (std::size_t s = 0; s < chosen.size(); ++s) {
    random_stream random(seed ^ mix(epoch), mix(chosen[s]));
    const auto first = static_cast<std::int32_t>(batch.tokens.rows.first(static_cast<index_t>(s)));
    const auto length =
        static_cast<std::int32_t>(batch.tokens.rows.length(static_cast<index_t>(s)));
    places.clear();
    for (std::int32_t row = first; row < first + length; ++row)
      if (!how.is_special(batch.tokens.ids[static_cast<std::size_t>(row)]))
        places.push_back(row);
    if (places.empty())
      continue;
    const auto wanted =
        static_cast<std::size_t>(std::lround(how.share * static_cast<double>(places.size())));
    const std::size_t asked = std::clamp<std::size_t>(wanted, 1, places.size());
    for (std::size_t i = 0; i < asked; ++i)
      std::swap(places[i], places[i + random.below(places.size() - i)]);
    std::sort(places.begin(), places.begin() + static_cast<std::ptrdiff_t>(asked));
    for (std::size_t i = 0; i < asked; ++i) {
      std::int32_t& id = batch.tokens.ids[static_cast<std::size_t>(places[i])];
      batch.places.push_back(places[i]);
      truth.push_back(id);
      const double kind = random.uniform();
      if (kind < how.masked) {
        id = how.mask_id;
      } else if (kind < how.masked + how.random) {
        do
          id = static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(how.vocabulary)));
        while (how.is_special(id));
      }
    }
  }
}

// | option | meaning                                           | default |
// | epochs | passes over the texts, each with other tokens hidden | 10   |
// | batch  | texts per step                                    | 32      |
// | method | sgd, adam or adamw, with its numbers              | adamw   |
// | rate   | schedule of the learning rate                     | linear  |
// | clip   | greatest norm of a step's gradient, 0: no limit   | 1       |
// | seed   | of order, hiding and dropout                      | 0       |
struct masked_language_options {
  int epochs = 10;
  int batch = 32;
  optimizer_method method = adamw{.rate = 1e-3};
  schedule rate{};
  double clip = 1;
  std::uint64_t seed = 0;
};

// The mean loss over the places asked for in each epoch.
struct masked_language_report {
  std::vector<double> losses;
  std::int64_t steps = 0;
  std::int64_t tokens = 0;
};

// Trains a masked language model on encoded texts; `observe(fit_progress)` is called after every
// step. Equal seeds give equal runs, bit for bit, on one machine, engine and thread count. Throws
// input_error without texts, or when no text has a token that may be asked for; divergence_error
// when the loss is no finite number.
template <class Model, class Observer>
masked_language_report fit_masked_language(Model& model, std::span<const example> texts,
                                           const masking& how,
                                           const masked_language_options& options,
                                           Observer&& observe) {
  using B = typename Model::backend_type;
  if (options.epochs < 0 || options.batch < 1)
    throw input_error(
        "masked_language_options: expected epochs of at least 0 and a batch of at "
        "least 1, found " +
        std::to_string(options.epochs) + " and " + std::to_string(options.batch));
  const bool any = std::any_of(texts.begin(), texts.end(), [&](const example& text) {
    return !std::all_of(text.ids.begin(), text.ids.end(),
                        [&](std::int32_t id) { return how.is_special(id); });
  });
  if (!any)
    throw input_error("fit_masked_language: expected texts with tokens, found none");

  typename B::workspace memory;
  typename Model::training_cache cache;
  auto gradient = make_gradient(model.network, model.parameters);
  const auto parts = list_parts(model.network, gradient.gradient);
  optimizer<B> method(options.method, model.parameters);
  const cross_entropy loss;
  masked_batch packed;
  std::vector<std::int32_t> truth;

  const auto batch = static_cast<std::size_t>(options.batch);
  masked_language_report report;
  fit_progress now;
  now.steps = static_cast<std::int64_t>((texts.size() + batch - 1) / batch) * options.epochs;
  for (int epoch = 1; epoch <= options.epochs; ++epoch) {
    now.epoch = epoch;
    double sum = 0;
    std::size_t places = 0;
    for (const auto& chosen :
         plan_epoch(texts, batch, options.seed, static_cast<std::uint64_t>(epoch), true)) {
      pack_masked(texts, chosen, model.config.first_position, how, options.seed,
                  static_cast<std::uint64_t>(epoch), packed, truth);
      const context<B> k{memory, packed.tokens.rows, true, options.seed,
                         static_cast<std::uint64_t>(now.step)};
      gradient.clear();
      if (!truth.empty()) {
        const auto outputs = model.network.template forward<training_demand>(packed, cache, k);
        auto r = loss.template operator()<B>(outputs, truth, k);
        if (!std::isfinite(r.loss))
          throw divergence_error(now.step + 1, "loss", r.loss);
        model.network.template backward<training_demand>(std::move(r.gradient), cache,
                                                         &gradient.gradient, k);
        now.loss = r.loss + add_penalties(parts);
        sum += r.loss * static_cast<double>(truth.size());
        places += truth.size();
      }
      now.tokens += packed.tokens.rows.rows();
      now.gradient_norm = gradient_norm<B>(gradient.values);
      if (!std::isfinite(now.gradient_norm))
        throw divergence_error(now.step + 1, "gradient norm", now.gradient_norm);
      now.rate_factor = options.rate.factor(now.step, now.steps);
      const double scale = clip_factor(now.gradient_norm, options.clip);
      method.step(model.parameters, gradient.values, now.rate_factor, scale);
      ++now.step;
      after_step<typename Model::tuning_type>(model.network, gradient.gradient,
                                              {now.step, now.steps, scale});
      observe(static_cast<const fit_progress&>(now));
    }
    report.losses.push_back(sum / static_cast<double>(std::max<std::size_t>(places, 1)));
  }
  report.steps = now.step;
  report.tokens = now.tokens;
  return report;
}

template <class Model>
masked_language_report fit_masked_language(Model& model, std::span<const example> texts,
                                           const masking& how,
                                           const masked_language_options& options = {}) {
  return fit_masked_language(model, texts, how, options, [](const fit_progress&) {});
}

}  // namespace graft
