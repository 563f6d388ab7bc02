// SPDX-License-Identifier: MIT
// A model under a tuning that is chosen when the program runs. Each tuning is compiled in a
// file of its own, strategy_*.cpp; a program links them all and sees only `session` and the menu.
#pragma once

#include "support/compute.hpp"

#include <graft/io/adapter.hpp>
#include <graft/io/pretrained.hpp>
#include <graft/io/snapshot.hpp>
#include <graft/model/regraft.hpp>
#include <graft/train/fit.hpp>
#include <graft/tuning/describe.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace programs {

// A training of a session's model, which it must not outlive (graft::training).
struct session_training {
  virtual ~session_training() = default;

  virtual bool over() const = 0;
  virtual const graft::fit_progress& advance() = 0;
  virtual graft::fit_report finish() = 0;
  virtual graft::training_position position() const = 0;
  virtual void resume(graft::training_position at) = 0;
  // graft::begin_with_snapshots …
  virtual void begin_with_snapshots(const graft::snapshot_options& options) = 0;
  // … and, once that is done, graft::run_with_snapshots.
  virtual void run_with_snapshots(
      const graft::snapshot_options& options,
      const std::function<void(const graft::fit_progress&)>& observe) = 0;
};

// A model and what programs do with it.
struct session {
  graft::load_report loaded;       // of a fresh session: what the checkpoint lacked
  graft::task_objective objective;  // what it is trained for and judged by; its task's, unless changed

  virtual ~session() = default;

  virtual const graft::bert_config& config() const = 0;
  virtual const std::vector<std::string>& labels() const = 0;
  // Tokens that a text may have.
  virtual graft::index_t longest() const = 0;
  virtual graft::parameter_count count() const = 0;
  virtual std::string describe() const = 0;

  virtual std::unique_ptr<session_training> train(std::span<const graft::example> data,
                                                  std::span<const graft::example> dev,
                                                  const graft::fit_options& options) = 0;
  graft::fit_report fit(std::span<const graft::example> data, std::span<const graft::example> dev,
                        const graft::fit_options& options,
                        const std::function<void(const graft::fit_progress&)>& observe);
  virtual graft::evaluation evaluate(std::span<const graft::example> data) const = 0;
  // The outputs for each example, in their order: a row, or row after row where every token is asked.
  virtual std::vector<std::vector<float>> predict(std::span<const graft::example> data) const = 0;
  // Writes the trained part.
  virtual void save(const std::string& folder, const graft::base_identity& base,
                    std::string_view strategy) const = 0;
  // Throws graft::error where save would, whatever is trained.
  virtual void expect_savable() = 0;
};

// What a strategy is called, what it takes, and how a session of it begins.
struct strategy {
  std::string_view name, summary;
  double rate = 1e-3;  // a learning rate that suits it
  bool has_rank = false, has_width = false;
  std::unique_ptr<session> (*start)(const compute&, const std::string& base,
                                    const graft::load_options&) = nullptr;
  std::unique_ptr<session> (*resume)(const compute&, const std::string& base,
                                     const std::string& adapter) = nullptr;
  // Has it every decoration of an adapter, in a model of so many layers? And the session with it.
  bool (*has_places)(const graft::adapter_data&, graft::index_t layers) = nullptr;
  std::unique_ptr<session> (*hold)(const compute&, const std::string& base,
                                   const graft::adapter_data&) = nullptr;
  // Goes on where another strategy's session over the same backend stands.
  std::unique_ptr<session> (*follow)(const compute&, session& before, std::uint64_t seed,
                                     const graft::regraft_options&) = nullptr;
};

namespace menu {
extern const strategy full, head, top2, bitfit, lora, lora_fa, lora_plus, pissa, olora, qlora, dora,
    vera, adalora, ia3, prompt, p_tuning, prefix, prefix_mlp, houlsby, pfeiffer, parallel, scaled_parallel,
    adapter_plus, compacter, compacter_plus, skip, loreft, lora_pfeiffer, mam, unipelt;
}

std::span<const strategy* const> strategies();

// Null when there is no strategy of that name.
const strategy* find_strategy(std::string_view name);

// A base with an adapter of any library that graft reads: graft-finetune's under its strategy, another's
// folded into the weights where its method allows it, else under the strategy whose places it has. Throws
// checkpoint_error where none has them, with the recipe that would.
std::unique_ptr<session> open_with_adapter(const compute& c, const std::string& base,
                                           const std::string& adapter);
// A model as it is. Throws checkpoint_error for one without a head.
std::unique_ptr<session> open_model(const compute& c, const std::string& folder);

}  // namespace programs
