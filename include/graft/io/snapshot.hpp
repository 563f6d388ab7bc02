// SPDX-License-Identifier: MIT
// A training written down, so that a run that was stopped goes on where it was: one file, whole or not
// there at all.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/host_matrix.hpp>
#include <graft/core/plain.hpp>
#include <graft/io/dtype.hpp>
#include <graft/io/file.hpp>
#include <graft/io/fill_network.hpp>
#include <graft/io/fingerprint.hpp>
#include <graft/io/json.hpp>
#include <graft/io/safetensors.hpp>
#include <graft/train/fit.hpp>
#include <graft/train/start.hpp>
#include <graft/train/training.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <nlohmann/json.hpp>

namespace graft {

// | option        | meaning                                          | default |
// | folder        | where the files are: step-000000125.safetensors  |         |
// | every_steps   | optimizer steps between two, 0: no matter        | 0       |
// | every_minutes | minutes between two, 0: no matter                | 0       |
// | keep          | so many of the last stay                         | 2       |
// | resume        | go on from the last one, if there is one         | false   |
struct snapshot_options {
  std::string folder;
  std::int64_t every_steps = 0;
  double every_minutes = 0;
  int keep = 2;
  bool resume = false;
};

namespace detail {

GRAFT_PLAIN nlohmann::json position_json(const training_position& at);
GRAFT_PLAIN training_position position_from(const nlohmann::json& json, const std::string& file);
GRAFT_PLAIN nlohmann::json options_json(const fit_options& o);
GRAFT_PLAIN std::filesystem::path snapshot_file(const std::filesystem::path& folder, std::int64_t step);

}  // namespace detail

// The snapshots of a folder, the oldest first; none where there is no such folder.
GRAFT_PLAIN std::vector<std::filesystem::path> snapshots_in(const std::filesystem::path& folder);

namespace detail {

// Removes what a process that was killed while writing left in a folder.
GRAFT_PLAIN void remove_half_written(const std::filesystem::path& folder);

}  // namespace detail

// A training as a snapshot sees it: whatever its model, one type for each backend. `facts` must be the
// same for it to go on. Of several `processes` the first one writes; all must see the same files.
template <class B>
struct training_state {
  training_values<B> values;
  nlohmann::json facts;
  process_group* processes = nullptr;

  bool writes() const { return !processes || processes->rank() == 0; }
};

template <class B>
training_state<B> state_of(training_values<B> values, std::uint64_t start_hash,
                           const fit_options& options, std::span<const example> train,
                           std::span<const example> dev) {
  nlohmann::json facts = detail::options_json(options);
  facts["train_examples"] = train.size();
  facts["train_data"] = detail::hash_of_examples(train);
  facts["dev_data"] = detail::hash_of_examples(dev);
  facts["model_at_start"] = start_hash;
  return {std::move(values), std::move(facts), options.processes};
}

template <class Model, class Objective>
training_state<typename Model::backend_type> state_of(training<Model, Objective>& run) {
  return state_of(run.values(), run.start_hash(), run.options(), run.train(), run.dev());
}

// Writes where a training stands: parameters, moments, the best epoch's and the averaged parameters,
// what decorations remember, the position in the data; and the facts.
template <class B>
void save_snapshot(const training_state<B>& state, const training_position& at,
                   const std::filesystem::path& file) {
  using scalar = typename B::scalar;
  constexpr dtype type = sizeof(scalar) == 8 ? dtype::f64 : dtype::f32;
  std::vector<tensor_entry> entries;
  const auto add = [&](std::string name, const scalar* values, std::size_t count) {
    if (count > 0)
      entries.push_back({std::move(name),
                         type,
                         {static_cast<index_t>(count)},
                         reinterpret_cast<const std::byte*>(values),
                         count * sizeof(scalar)});
  };
  std::deque<host_numbers<B>> found;  // for as long as they are written
  for (const auto& [name, p] : state.values.tensors)
    if (p->size() > 0)
      add(name, &found.emplace_back(*p)[0], static_cast<std::size_t>(p->size()));
  for (const auto& [name, numbers] : state.values.memories)
    add("memory." + name, numbers->data(), numbers->size());
  write_safetensors(file, std::move(entries),
                    {{"format", "graft snapshot 1"},
                     {"position", detail::position_json(at).dump()},
                     {"run", state.facts.dump()}});
}

// Fills the values of a training that is at its beginning; returns where it stood, for
// training::resume. The steps that follow are those that followed there, bit for bit. Throws
// checkpoint_error, naming what differs, for a snapshot of another run; nothing is changed then.
template <class B>
training_position load_snapshot(const training_state<B>& state, const std::filesystem::path& file) {
  using parameter = typename B::parameter;
  const std::string place = file.string();
  const safetensors_file from = safetensors_file::open(file);
  const auto text = [&](const char* key) {
    const auto found = from.metadata().find(key);
    if (found == from.metadata().end())
      throw checkpoint_error(place + ": expected a snapshot with \"" + std::string(key) +
                             "\", found none");
    return found->second;
  };
  if (const std::string format = text("format"); format != "graft snapshot 1")
    throw checkpoint_error(place + ": \"format\": expected graft snapshot 1, found " + format);
  const nlohmann::json facts = parse_json(text("run"), place);
  for (const auto& [name, value] : state.facts.items())
    if (const auto found = facts.find(name); found == facts.end() || *found != value)
      throw checkpoint_error(place + ": expected a snapshot of this run, found another: " + name +
                             " is " + value.dump() + " here, " +
                             (found == facts.end() ? std::string("absent") : found->dump()) +
                             " there");
  const training_position at = detail::position_from(parse_json(text("position"), place), place);

  const auto find = [&](const std::string& name) -> const tensor_entry* {
    const tensor_entry* entry = from.find(name);
    if (entry &&
        (entry->shape.size() != 1 || !(entry->type == dtype::f32 || entry->type == dtype::f64)))
      throw checkpoint_error(place + ": " + name + ": expected a row of F32 or F64");
    return entry;
  };
  for (const auto& [name, p] : state.values.tensors) {
    const tensor_entry* entry = find(name);
    if (entry ? entry->shape[0] != state.values.size : p->size() != 0)
      throw checkpoint_error(place + ": " + name + ": expected " +
                             std::to_string(state.values.size) + " numbers, found " +
                             (entry ? std::to_string(entry->shape[0]) : std::string("none")));
  }
  for (const auto& [name, numbers] : state.values.memories)
    find("memory." + name);

  for (const auto& [name, p] : state.values.tensors)
    if (const tensor_entry* entry = find(name)) {
      if (p->size() == 0)
        *p = parameter(1, state.values.size);
      detail::write_values<B>(*p, *entry);
    }
  for (const auto& [name, numbers] : state.values.memories) {
    const tensor_entry* entry = find("memory." + name);
    numbers->assign(entry ? element_count(*entry) : 0, 0);
    if (entry)
      convert_to(entry->type, entry->data, numbers->size(), numbers->data());
  }
  return at;
}

template <class Model, class Objective>
void save_snapshot(training<Model, Objective>& run, const std::filesystem::path& file) {
  save_snapshot(state_of(run), run.position(), file);
}

template <class Model, class Objective>
void load_snapshot(training<Model, Objective>& run, const std::filesystem::path& file) {
  run.resume(load_snapshot(state_of(run), file));
}

// Prepares the folder of a training's snapshots, and the training: taken up at the last of them when
// `resume`. `Run` is a training or has its members over(), advance(), position() and resume(). Throws
// as load_snapshot does, and input_error for snapshots that are there unasked.
template <class Run, class B>
void begin_with_snapshots(Run& run, const training_state<B>& state,
                          const snapshot_options& options) {
  if (options.folder.empty())
    throw input_error("snapshot_options.folder: expected a folder, found none");
  const auto before = snapshots_in(options.folder);
  if (!options.resume && !before.empty())
    throw input_error("snapshot_options.folder: expected no snapshots of an earlier run in " +
                      options.folder + ", found " + std::to_string(before.size()) +
                      " (snapshot_options.resume goes on from them)");
  if (state.writes()) {
    create_folder(options.folder);
    detail::remove_half_written(options.folder);
  }
  if (!before.empty())
    run.resume(load_snapshot(state, before.back()));
  if (state.processes)
    detail::expect_same(*state.processes,
                        std::array{static_cast<std::uint64_t>(run.position().step),
                                   static_cast<std::uint64_t>(run.position().epoch)},
                        "the snapshots in " + options.folder);
}

// Runs a training to its end, with snapshots on the way and a last one there. `observe(fit_progress)`
// is called before what it is told of is written. A snapshot that cannot be written is an error; the
// ones before it stay.
template <class Run, class B, class Observer>
void run_with_snapshots(Run& run, const training_state<B>& state, const snapshot_options& options,
                        Observer&& observe) {
  using clock = std::chrono::steady_clock;
  auto last = clock::now();
  const std::chrono::duration<double> pause(60 * options.every_minutes);
  while (!run.over()) {
    const fit_progress& now = run.advance();
    observe(now);
    if (!state.writes())
      continue;
    const bool by_steps = options.every_steps > 0 && now.step % options.every_steps == 0;
    const bool by_time = options.every_minutes > 0 && clock::now() - last >= pause;
    if (now.dev == nullptr ? by_steps || by_time : run.over()) {
      save_snapshot(state, run.position(), detail::snapshot_file(options.folder, now.step));
      last = clock::now();
      const auto files = snapshots_in(options.folder);
      const auto keep = static_cast<std::size_t>(std::max(options.keep, 1));
      for (std::size_t i = 0; i + keep < files.size(); ++i)
        std::filesystem::remove(files[i]);
    }
  }
}

// fit with snapshots.
template <class Model, class Observer>
fit_report fit(Model& model, std::span<const example> train, std::span<const example> dev,
               const fit_options& options, const snapshot_options& snapshots, Observer&& observe) {
  training<Model> run(model, train, dev, options);
  const auto state = state_of(run);
  begin_with_snapshots(run, state, snapshots);
  run_with_snapshots(run, state, snapshots, observe);
  return run.finish();
}

}  // namespace graft

#if GRAFT_BODIES

namespace graft {

namespace detail {

// A loss may be no finite number, which JSON does not have.
inline nlohmann::json loss_json(double loss) {
  return std::isfinite(loss) ? nlohmann::json(loss) : nlohmann::json(std::to_string(loss));
}

inline double loss_from(const nlohmann::json& json, const char* key, const std::string& file) {
  if (json.contains(key) && json.at(key).is_string())
    return std::strtod(get<std::string>(json, key, file).c_str(), nullptr);
  return get<double>(json, key, file);
}

inline nlohmann::json evaluation_json(const evaluation& e) {
  nlohmann::json scores = nlohmann::json::array();  // in their order
  for (const auto& [name, value] : e.scores)
    scores.push_back({{"name", name}, {"value", loss_json(value)}});
  return {{"loss", loss_json(e.loss)}, {"scores", scores}, {"confusion", e.confusion.counts}};
}

inline evaluation evaluation_from(const nlohmann::json& json, const std::string& file) {
  evaluation e;
  e.loss = loss_from(json, "loss", file);
  for (const auto& score : get<std::vector<nlohmann::json>>(json, "scores", file))
    e.scores.emplace_back(get<std::string>(score, "name", file), loss_from(score, "value", file));
  e.confusion.counts = get<std::vector<std::vector<std::int64_t>>>(json, "confusion", file);
  return e;
}

GRAFT_PLAIN nlohmann::json position_json(const training_position& at) {
  nlohmann::json epochs = nlohmann::json::array();
  for (const epoch_report& e : at.epochs)
    epochs.push_back(
        {{"epoch", e.epoch}, {"train_loss", loss_json(e.train_loss)}, {"dev", evaluation_json(e.dev)}});
  return {{"epoch", at.epoch},
          {"batch", at.batch},
          {"step", at.step},
          {"tokens", at.tokens},
          {"epoch_loss", at.epoch_loss},
          {"epoch_weight", at.epoch_weight},
          {"best_epoch", at.best_epoch},
          {"stopped_early", at.stopped_early},
          {"epochs", std::move(epochs)}};
}

GRAFT_PLAIN training_position position_from(const nlohmann::json& json, const std::string& file) {
  training_position at;
  at.epoch = get<int>(json, "epoch", file);
  at.batch = get<std::size_t>(json, "batch", file);
  at.step = get<std::int64_t>(json, "step", file);
  at.tokens = get<std::int64_t>(json, "tokens", file);
  at.epoch_loss = get<double>(json, "epoch_loss", file);
  at.epoch_weight = get<double>(json, "epoch_weight", file);
  at.best_epoch = get<int>(json, "best_epoch", file);
  at.stopped_early = get<bool>(json, "stopped_early", file);
  for (const auto& e : get<std::vector<nlohmann::json>>(json, "epochs", file))
    at.epochs.push_back({get<int>(e, "epoch", file), loss_from(e, "train_loss", file),
                         evaluation_from(get<nlohmann::json>(e, "dev", file), file)});
  if (at.best_epoch < 0 || static_cast<std::size_t>(at.best_epoch) > at.epochs.size())
    throw checkpoint_error(file + ": \"best_epoch\": expected one of " +
                           std::to_string(at.epochs.size()) + " epochs, found " +
                           std::to_string(at.best_epoch));
  return at;
}

GRAFT_PLAIN nlohmann::json options_json(const fit_options& o) {
  nlohmann::json json{{"monitor", o.monitor}, {"seed", o.seed}};
  for (const auto& [name, value] : numbers_of(o)) {
    const bool whole = value == std::nearbyint(value) && std::abs(value) < 0x1p53;
    json[name] = whole ? nlohmann::json(static_cast<std::int64_t>(value)) : nlohmann::json(value);
  }
  constexpr const char* methods[] = {"sgd", "adam", "adamw"};
  json["method"] = methods[o.method.index()];
  return json;
}

GRAFT_PLAIN std::filesystem::path snapshot_file(const std::filesystem::path& folder, std::int64_t step) {
  char name[64];
  std::snprintf(name, sizeof name, "step-%09lld.safetensors", static_cast<long long>(step));
  return folder / name;
}

}  // namespace detail

GRAFT_PLAIN std::vector<std::filesystem::path> snapshots_in(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(folder, none)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("step-") && name.ends_with(".safetensors"))
      files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

namespace detail {

GRAFT_PLAIN void remove_half_written(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("step-") && name.find(".safetensors.tmp") != std::string::npos)
      files.push_back(entry.path());
  }
  for (const auto& file : files)
    std::filesystem::remove(file);
}

}  // namespace detail

}  // namespace graft

#endif
