// SPDX-License-Identifier: MIT
// A training written down, so that a run that was stopped goes on where it was: one file, whole or not
// there at all.
#pragma once

#include <graft/core/error.hpp>
#include <graft/io/dtype.hpp>
#include <graft/io/file.hpp>
#include <graft/io/fingerprint.hpp>
#include <graft/io/json.hpp>
#include <graft/io/safetensors.hpp>
#include <graft/train/fit.hpp>
#include <graft/train/training.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
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

inline nlohmann::json evaluation_json(const evaluation& e) {
  return {{"loss", e.loss}, {"confusion", e.confusion.counts}};
}
inline evaluation evaluation_from(const nlohmann::json& json, const std::string& file) {
  confusion_matrix m;
  m.counts = get<std::vector<std::vector<std::int64_t>>>(json, "confusion", file);
  return evaluate_confusion(std::move(m), get<double>(json, "loss", file));
}

inline nlohmann::json position_json(const training_position& at) {
  nlohmann::json epochs = nlohmann::json::array();
  for (const epoch_report& e : at.epochs)
    epochs.push_back(
        {{"epoch", e.epoch}, {"train_loss", e.train_loss}, {"dev", evaluation_json(e.dev)}});
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
inline training_position position_from(const nlohmann::json& json, const std::string& file) {
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
    at.epochs.push_back({get<int>(e, "epoch", file), get<double>(e, "train_loss", file),
                         evaluation_from(get<nlohmann::json>(e, "dev", file), file)});
  if (at.best_epoch < 0 || static_cast<std::size_t>(at.best_epoch) > at.epochs.size())
    throw checkpoint_error(file + ": \"best_epoch\": expected one of " +
                           std::to_string(at.epochs.size()) + " epochs, found " +
                           std::to_string(at.best_epoch));
  return at;
}

// What must be the same for a run to be the same.
inline nlohmann::json options_json(const fit_options& o) {
  const auto method = std::visit(
      [](const auto& m) -> nlohmann::json {
        if constexpr (requires { m.momentum; })
          return {{"name", "sgd"},
                  {"rate", m.rate},
                  {"momentum", m.momentum},
                  {"nesterov", m.nesterov},
                  {"decay", m.decay}};
        else if constexpr (requires { m.decay; })
          return {{"name", "adamw"}, {"rate", m.rate},       {"beta1", m.beta1},
                  {"beta2", m.beta2}, {"epsilon", m.epsilon}, {"decay", m.decay}};
        else
          return {{"name", "adam"},
                  {"rate", m.rate},
                  {"beta1", m.beta1},
                  {"beta2", m.beta2},
                  {"epsilon", m.epsilon}};
      },
      o.method);
  return {{"epochs", o.epochs},
          {"batch", o.batch},
          {"accumulate", o.accumulate},
          {"method", method},
          {"decay_everything", o.decay_everything},
          {"schedule", {{"form", static_cast<int>(o.rate.form)}, {"warmup", o.rate.warmup}}},
          {"clip", o.clip},
          {"class_weights", o.loss.class_weights},
          {"smoothing", o.loss.smoothing},
          {"bucketed", o.bucketed},
          {"patience", o.patience},
          {"minimum_delta", o.minimum_delta},
          {"monitor", static_cast<int>(o.monitor)},
          {"l2", o.l2},
          {"l2_start", o.l2_start},
          {"layer_decay", o.layer_decay},
          {"average", o.average},
          {"augmented", static_cast<bool>(o.augment)},
          {"seed", o.seed}};
}

inline std::string hash_text(const fnv1a& hash) {
  char digits[17];
  std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(hash.value()));
  return digits;
}
inline std::string data_hash(std::span<const example> data) {
  fnv1a hash;
  for (const example& e : data) {
    hash.add(e.ids.size());
    hash.add(std::as_bytes(std::span(e.ids)));
    hash.add(std::as_bytes(std::span(e.types)));
    hash.add(static_cast<std::uint64_t>(static_cast<std::uint32_t>(e.label)) << 32 | e.task);
  }
  return hash_text(hash);
}
template <class B>
std::string model_hash(const parameter_store<B>& store) {
  fnv1a hash;
  for (const segment& s : store.segments) {
    hash.add(std::as_bytes(std::span(s.path)));
    hash.add(static_cast<std::uint64_t>(s.rows));
    hash.add(static_cast<std::uint64_t>(s.cols));
  }
  return hash_text(hash);
}

template <class Model>
nlohmann::json facts_of(const training<Model>& run) {
  nlohmann::json facts = options_json(run.options());
  facts["train_examples"] = run.train().size();
  facts["train_data"] = data_hash(run.train());
  facts["dev_data"] = data_hash(run.dev());
  facts["trained_parameters"] = model_hash(run.model().parameters);
  return facts;
}

inline std::filesystem::path snapshot_file(const std::filesystem::path& folder, std::int64_t step) {
  char name[64];
  std::snprintf(name, sizeof name, "step-%09lld.safetensors", static_cast<long long>(step));
  return folder / name;
}

}  // namespace detail

// The snapshots of a folder, the oldest first; none where there is no such folder.
inline std::vector<std::filesystem::path> snapshots_in(const std::filesystem::path& folder) {
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

// Removes what a process that was killed while writing left in a folder.
inline void remove_half_written(const std::filesystem::path& folder) {
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

// Writes where a training stands: parameters, moments, the best epoch's and the averaged parameters,
// what decorations remember, the position in the data; and what must be the same for it to go on.
template <class Model>
void save_snapshot(training<Model>& run, const std::filesystem::path& file) {
  using scalar = typename Model::backend_type::scalar;
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
  run.for_each_tensor([&](std::string_view name, const auto& p) {
    add(std::string(name), p.data, static_cast<std::size_t>(p.size()));
  });
  run.for_each_memory([&](const std::string& name, const std::vector<scalar>& values) {
    add("memory." + name, values.data(), values.size());
  });
  write_safetensors(file, std::move(entries),
                    {{"format", "graft snapshot 1"},
                     {"position", detail::position_json(run.position()).dump()},
                     {"run", detail::facts_of(run).dump()}});
}

// Takes a training up where a snapshot was written: the steps that follow are those that followed there,
// bit for bit. `run` must be at its beginning. Throws checkpoint_error, naming what differs, for a
// snapshot of another run.
template <class Model>
void load_snapshot(training<Model>& run, const std::filesystem::path& file) {
  using scalar = typename Model::backend_type::scalar;
  using parameter = typename Model::backend_type::parameter;
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
  const nlohmann::json facts = parse_json(text("run"), place), own = detail::facts_of(run);
  for (const auto& [name, value] : own.items())
    if (const auto found = facts.find(name); found == facts.end() || *found != value)
      throw checkpoint_error(place + ": expected a snapshot of this run, found another: " + name +
                             " is " + value.dump() + " here, " +
                             (found == facts.end() ? std::string("absent") : found->dump()) +
                             " there");
  const training_position at = detail::position_from(parse_json(text("position"), place), place);

  const index_t size = run.model().parameters.size();
  const auto tensor = [&](const std::string& name) -> const tensor_entry* {
    const tensor_entry* entry = from.find(name);
    if (entry && (entry->shape.size() != 1 || !(entry->type == dtype::f32 || entry->type == dtype::f64)))
      throw checkpoint_error(place + ": " + name + ": expected a row of F32 or F64");
    return entry;
  };
  // Everything is looked at before anything is changed.
  run.for_each_tensor([&](std::string_view name, const parameter& p) {
    const tensor_entry* entry = tensor(std::string(name));
    if (entry ? entry->shape[0] != size : p.size() != 0)
      throw checkpoint_error(place + ": " + std::string(name) + ": expected " +
                             std::to_string(size) + " numbers, found " +
                             (entry ? std::to_string(entry->shape[0]) : std::string("none")));
  });
  run.for_each_tensor([&](std::string_view name, parameter& p) {
    if (const tensor_entry* entry = tensor(std::string(name))) {
      if (p.size() == 0)
        p = parameter(1, size);
      convert_to(entry->type, entry->data, element_count(*entry), p.data);
    }
  });
  run.for_each_memory([&](const std::string& name, std::vector<scalar>& values) {
    const tensor_entry* entry = tensor("memory." + name);
    values.assign(entry ? element_count(*entry) : 0, scalar(0));
    if (entry)
      convert_to(entry->type, entry->data, values.size(), values.data());
  });
  run.resume(at);
}

// fit with snapshots. Those of other runs in the folder are an error when resuming, and are removed
// otherwise. A snapshot that cannot be written is an error; the ones before it stay.
template <class Model, class Observer>
fit_report fit(Model& model, std::span<const example> train, std::span<const example> dev,
               const fit_options& options, const snapshot_options& snapshots, Observer&& observe) {
  training<Model> run(model, train, dev, options);
  const std::filesystem::path folder = snapshots.folder;
  const auto before = snapshots_in(folder);
  if (snapshots.resume && !before.empty())
    load_snapshot(run, before.back());
  else
    for (const auto& file : before)
      std::filesystem::remove(file);
  create_folder(folder);
  detail::remove_half_written(folder);

  using clock = std::chrono::steady_clock;
  auto last = clock::now();
  const std::chrono::duration<double> pause(60 * snapshots.every_minutes);
  while (!run.over()) {
    const fit_progress& now = run.advance();
    observe(now);
    const bool by_steps = snapshots.every_steps > 0 && now.step % snapshots.every_steps == 0;
    const bool by_time = snapshots.every_minutes > 0 && clock::now() - last >= pause;
    if (now.dev == nullptr ? by_steps || by_time : run.over()) {
      save_snapshot(run, detail::snapshot_file(folder, now.step));
      last = clock::now();
      const auto files = snapshots_in(folder);
      for (std::size_t i = 0; i + static_cast<std::size_t>(std::max(snapshots.keep, 1)) < files.size();
           ++i)
        std::filesystem::remove(files[i]);
    }
  }
  return run.finish();
}

}  // namespace graft
