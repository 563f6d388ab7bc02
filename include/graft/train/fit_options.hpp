// SPDX-License-Identifier: MIT
// What a fine-tuning is told, and what it tells.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/plain.hpp>
#include <graft/train/examples.hpp>
#include <graft/train/loss.hpp>
#include <graft/train/metrics.hpp>
#include <graft/train/optimizer.hpp>
#include <graft/train/process_group.hpp>
#include <graft/train/schedule.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace graft {

namespace detail {

GRAFT_PLAIN std::string number_text(double x);

}  // namespace detail

// The loss, or the gradient's norm, is no finite number. That step was not taken: the model holds
// the parameters it began with.
struct divergence_error : error {
  std::int64_t step;
  divergence_error(std::int64_t at, const std::string& what, double found);
};

// | option           | meaning                                                        | default |
// | epochs           | passes over the training examples                              | 3       |
// | batch            | examples per forward and backward                              | 16      |
// | accumulate       | batches per optimizer step                                     | 1       |
// | method           | sgd, adam or adamw, with its numbers                           | adamw   |
// | decay_everything | let weight decay act on norms and biases too                   | false   |
// | rate             | schedule of the learning rate                                  | linear  |
// | clip             | greatest norm of a step's gradient, 0: no limit                | 1       |
// | loss             | cross-entropy: class weights, label smoothing; where classes are told | |
// | bucketed         | texts of like length share a batch                             | true    |
// | patience         | epochs without a better dev score before stopping, 0: never    | 0       |
// | minimum_delta    | by how much a dev score must be better                         | 0       |
// | monitor          | the dev score, or loss; "": the objective's first             | ""      |
// | l2               | λ: the loss gets λ/2 Σ w²                                      | 0       |
// | l2_start         | λ: the loss gets λ/2 Σ (w − w₀)², w₀ the values at the start   | 0       |
// | layer_decay      | a layer's rate, over that of the layer above it                | 1       |
// | average          | d: w̄ = d w̄ + (1 − d) w after each step; w̄ is evaluated and left in the | 0 |
// |                  | model. d is at most (1 + step) / (10 + step)                   |         |
// | augment          | called with an example's number, the epoch (from 1) and a copy of it, whose |
// |                  | ids and types it may change, whenever it is trained on; what it does must   |
// |                  | follow from the number and the epoch                           |         |
// | padded           | on a device, sequences that count for nothing are added to a batch so that | true |
// |                  | batches of few sizes and few graphs are made (train/padding.hpp); to be | |
// |                  | switched off for networks whose sequences know of each other   |         |
// | evaluation_batch | examples per batch while evaluating                            | 32      |
// | keep_frozen      | bytes for what the part below everything trained makes of the training and | 512 MiB |
// |                  | dev examples, so that it is computed once and not in every epoch (kept_report); |
// |                  | 0: nothing is kept                                             |         |
// | keep_frozen_in   | a folder for a file with it, which is gone afterwards; "": it is in memory | "" |
// | seed             | of data order and dropout                                      | 0       |
// | processes        | those that train together, each a share of every batch; null: this alone | null |
struct fit_options {
  int epochs = 3;
  int batch = 16;
  int accumulate = 1;
  optimizer_method method = adamw{.rate = 1e-3};
  bool decay_everything = false;
  schedule rate{};
  double clip = 1;
  cross_entropy loss{};
  bool bucketed = true;
  int patience = 0;
  double minimum_delta = 0;
  std::string monitor{};
  double l2 = 0;
  double l2_start = 0;
  double layer_decay = 1;
  double average = 0;
  std::function<void(std::uint32_t, int, example&)> augment{};
  bool padded = true;
  int evaluation_batch = 32;
  std::size_t keep_frozen = std::size_t{512} << 20;
  std::string keep_frozen_in{};
  std::uint64_t seed = 0;
  process_group* processes = nullptr;

  void check() const;
};

// All numbers of the options but the seed, by name: what must be the same for a run to be the same, with
// the seed, `monitor` and what `augment` does.
GRAFT_PLAIN std::vector<std::pair<std::string, double>> numbers_of(const fit_options& o);

// What a callback of fit is told after every optimizer step and, with `dev` set, after every epoch.
struct fit_progress {
  int epoch = 0;           // from 1
  std::int64_t step = 0;   // optimizer steps done
  std::int64_t steps = 0;  // … of the whole run, if it is not stopped early
  reading loss = 0;        // of this step; asking a device for it waits until it is done
  reading gradient_norm = 0;
  double rate_factor = 0;
  std::int64_t tokens = 0;  // trained on so far
  const evaluation* dev = nullptr;
};

struct epoch_report {
  int epoch = 0;
  double train_loss = 0;  // mean over the epoch's examples, by their weights, and penalties
  evaluation dev;
};

// Is what the frozen part makes of examples kept? If not, why?
enum class keeping : unsigned char {
  on, not_asked, no_examples, one_epoch, processes, device, one_part, nothing_frozen, augmented, by_chance,
  dropout, no_room
};

inline std::string_view text_of(keeping k) {
  constexpr std::string_view texts[] = {
      "kept",
      "not kept: it was not asked for",
      "not kept: there are no examples",
      "not kept: there is one epoch only",
      "not kept: several processes train together",
      "not kept: the backend computes on a device",
      "not kept: models like this one are not run in two parts",
      "not kept: there is no layer below what is trained",
      "not kept: augmentation changes the examples",
      "not kept: the objective may change the examples",
      "not kept: dropout acts there",
      "not kept: there is no room for it"};
  return texts[static_cast<std::size_t>(k)];
}

// What the frozen part made of the training examples, which no dropout may act in, and of the dev examples.
// Rows of so many of them, which take so many bytes, were kept; those of the others did not fit and were
// computed each time.
struct kept_report {
  keeping train = keeping::not_asked, dev = keeping::not_asked;
  std::size_t examples = 0, bytes = 0;
};

struct fit_report {
  std::vector<epoch_report> epochs;
  int best_epoch = 0;  // 0: no epoch was run
  bool stopped_early = false;
  std::int64_t steps = 0;
  std::int64_t tokens = 0;
  std::size_t gradient_bytes = 0, optimizer_bytes = 0, workspace_peak_bytes = 0;
  kept_report kept{};

  const evaluation* best() const {
    return best_epoch > 0 ? &epochs[static_cast<std::size_t>(best_epoch) - 1].dev : nullptr;
  }
};

}  // namespace graft

#if GRAFT_BODIES

namespace graft {

namespace detail {

GRAFT_PLAIN std::string number_text(double x) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", x);
  return text;
}

}  // namespace detail

GRAFT_PLAIN std::vector<std::pair<std::string, double>> numbers_of(const fit_options& o) {
  std::vector<std::pair<std::string, double>> n{
      {"epochs", o.epochs},
      {"batch", o.batch},
      {"accumulate", o.accumulate},
      {"decay_everything", o.decay_everything},
      {"schedule.form", static_cast<double>(o.rate.form)},
      {"schedule.warmup", static_cast<double>(o.rate.warmup)},
      {"clip", o.clip},
      {"smoothing", o.loss.smoothing},
      {"bucketed", o.bucketed},
      {"patience", o.patience},
      {"minimum_delta", o.minimum_delta},
      {"l2", o.l2},
      {"l2_start", o.l2_start},
      {"layer_decay", o.layer_decay},
      {"average", o.average},
      {"augmented", static_cast<bool>(o.augment)},
      {"evaluation_batch", o.evaluation_batch},
      {"keep_frozen", static_cast<double>(o.keep_frozen)},
      {"processes", o.processes ? o.processes->size() : 1}};
  for (std::size_t c = 0; c < o.loss.class_weights.size(); ++c)
    n.emplace_back("class_weights." + std::to_string(c), o.loss.class_weights[c]);
  n.emplace_back("method", static_cast<double>(o.method.index()));
  std::visit(
      [&](const auto& m) {
        n.emplace_back("rate", m.rate);
        if constexpr (requires { m.momentum; }) {
          n.emplace_back("momentum", m.momentum);
          n.emplace_back("nesterov", m.nesterov);
        } else {
          n.emplace_back("beta1", m.beta1);
          n.emplace_back("beta2", m.beta2);
          n.emplace_back("epsilon", m.epsilon);
        }
        if constexpr (requires { m.decay; })
          n.emplace_back("decay", m.decay);
      },
      o.method);
  return n;
}

GRAFT_PLAIN divergence_error::divergence_error(std::int64_t at, const std::string& what, double found)
    : error("training: step " + std::to_string(at) + ": expected a finite " + what + ", found " +
            std::to_string(found)),
      step(at) {}

GRAFT_PLAIN void fit_options::check() const {
  const auto least = [](const char* name, int value, int minimum) {
    if (value < minimum)
      throw input_error(std::string("fit_options.") + name + ": expected at least " +
                        std::to_string(minimum) + ", found " + std::to_string(value));
  };
  least("epochs", epochs, 0);
  least("batch", batch, 1);
  least("accumulate", accumulate, 1);
  least("patience", patience, 0);
  least("evaluation_batch", evaluation_batch, 1);
  const auto between = [](const char* name, double value, double low, double high) {
    if (!(value >= low && value <= high))
      throw input_error(std::string("fit_options.") + name + ": expected a number from " +
                        detail::number_text(low) + " to " + detail::number_text(high) +
                        ", found " + detail::number_text(value));
  };
  constexpr double any = std::numeric_limits<double>::max();
  between("minimum_delta", minimum_delta, 0, any);
  between("l2", l2, 0, any);
  between("l2_start", l2_start, 0, any);
  between("layer_decay", layer_decay, 0, 1);
  between("average", average, 0, 1);
}

}  // namespace graft

#endif
