// SPDX-License-Identifier: MIT
#include "support/comparison.hpp"

#include "support/amounts.hpp"

#include <graft/core/error.hpp>
#include <graft/io/file.hpp>
#include <graft/io/json.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <set>
#include <sstream>
#include <utility>

namespace programs {

using json = nlohmann::ordered_json;

void add_scores(measures& found, const std::string& part, const graft::evaluation& scores) {
  for (const auto& [name, value] : scores.scores)
    found[part + "_" + name] = value;
  found[part + "_score"] = scores.scores.front().second;
  found[part + "_loss"] = scores.loss;
}

bool better_on_dev(const measures& a, const measures& b) {
  const double x = a.at("dev_score"), y = b.at("dev_score");
  return x > y || (x == y && a.at("dev_loss") < b.at("dev_loss"));
}

// ---- files --------------------------------------------------------------------------------------

namespace {

// Whole numbers without a point.
json number_of(double value) {
  if (std::nearbyint(value) == value && std::abs(value) < 0x1p53)
    return static_cast<std::int64_t>(value);
  return value;
}

std::string path_of(const std::string& folder, const std::string& strategy, std::uint64_t seed) {
  return folder + "/runs/" + strategy + "-" + std::to_string(seed) + ".json";
}

void write(const std::string& path, const json& value) {
  graft::write_atomically(path,
                          [&](graft::output_file& file) { file.write(value.dump(2) + "\n"); });
}

}  // namespace

void keep_settings(const std::string& folder, const json& settings) {
  const std::string path = folder + "/settings.json";
  if (!std::filesystem::exists(path)) {
    write(path, settings);
    return;
  }
  const nlohmann::json before = graft::read_json(path);
  std::string different;
  for (const auto& [key, value] : settings.items()) {
    const auto found = before.is_object() && before.contains(key) ? before[key] : nlohmann::json();
    if (found != nlohmann::json(value))
      different += (different.empty() ? "" : ", ") + key + " " + value.dump() + " instead of " +
                   found.dump();
  }
  if (!different.empty())
    throw graft::input_error(path + ": expected the settings that this folder's runs have, found " +
                             different + "; another --out begins anew");
}

std::optional<run_record> read_run(const std::string& folder, const std::string& strategy,
                                   std::uint64_t seed, const std::string& settings) {
  const std::string path = path_of(folder, strategy, seed);
  if (!std::filesystem::exists(path))
    return {};
  const nlohmann::json run = graft::read_json(path);
  const auto expect = [&](const std::string& key, const auto& wanted) {
    const auto found = graft::get<std::remove_cvref_t<decltype(wanted)>>(run, key, path);
    if (found != wanted)
      throw graft::input_error(path + ": " + key + ": expected " + nlohmann::json(wanted).dump() +
                               ", found " + nlohmann::json(found).dump());
  };
  expect("settings", settings);
  expect("strategy", strategy);
  expect("seed", seed);
  run_record record{strategy, seed};
  record.failed = graft::get<std::optional<std::string>>(run, "failed", path).value_or("");
  if (!record.failed.empty())
    return record;
  record.found = {};
  for (const char* needed : {"dev_score", "dev_loss", "trained_parameters", "seconds",
                             "training_bytes", "adapter_bytes"})
    record.found[needed] = graft::get<double>(run, needed, path);
  for (const auto& [key, value] : run.items())
    if (value.is_number() && key != "seed")
      record.found[key] = value.get<double>();
  return record;
}

void write_run(const std::string& folder, const run_record& run, const std::string& settings) {
  json value{{"strategy", run.strategy}, {"seed", run.seed}, {"settings", settings}};
  if (!run.failed.empty())
    value["failed"] = run.failed;
  for (const auto& [name, number] : run.found)
    value[name] = number_of(number);
  write(path_of(folder, run.strategy, run.seed), value);
}

void forecast::add(const std::string& strategy, double seconds) {
  for (const auto& name : {strategy, std::string()}) {
    seen_[name].first += seconds;
    seen_[name].second += 1;
  }
}

double forecast::seconds(const std::string& strategy) const {
  for (const auto& name : {strategy, std::string()})
    if (const auto found = seen_.find(name); found != seen_.end())
      return found->second.first / found->second.second;
  return 0;
}

// ---- by strategy --------------------------------------------------------------------------------

namespace {

spread spread_of(std::span<const double> values) {
  const auto n = static_cast<double>(values.size());
  double mean = 0, squares = 0;
  for (const double v : values)
    mean += v / n;
  for (const double v : values)
    squares += (v - mean) * (v - mean);
  return {mean,
          n > 1 ? std::sqrt(squares / (n - 1) / n) : std::numeric_limits<double>::quiet_NaN()};
}

summary summary_of(const std::string& strategy, std::span<const run_record> runs) {
  summary s{strategy};
  std::map<std::string, std::vector<double>> values;
  for (const auto& run : runs) {
    if (run.strategy != strategy)
      continue;
    (run.failed.empty() ? s.done : s.failed) += 1;
    if (s.reason.empty())
      s.reason = run.failed;
    for (const auto& [name, value] : run.found)
      values[name].push_back(value);
  }
  for (const auto& [name, list] : values)
    s.of[name] = spread_of(list);
  return s;
}

std::string cell(const spread* s, const char* format, bool with_error) {
  if (!s)
    return "";
  std::string text = printed(format, s->mean);
  if (with_error && std::isfinite(s->error))
    text += " ± " + printed(format, s->error);
  return text;
}

// Characters that a terminal shows.
std::size_t width_of(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

// The first column to the left, the others to the right.
std::string aligned(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths(rows.front().size());
  for (const auto& row : rows)
    for (std::size_t c = 0; c < row.size(); ++c)
      widths[c] = std::max(widths[c], width_of(row[c]));
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t c = 0; c < row.size(); ++c) {
      const std::string room(widths[c] - width_of(row[c]), ' ');
      line += c == 0 ? row[c] + room : "  " + room + row[c];
    }
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

}  // namespace

std::vector<summary> summarized(std::span<const run_record> runs) {
  std::vector<summary> all;
  for (const auto& run : runs)
    if (std::none_of(all.begin(), all.end(),
                     [&](const summary& s) { return s.strategy == run.strategy; }))
      all.push_back(summary_of(run.strategy, runs));
  const auto means = [](const summary& s) {
    return s.done == 0 ? std::pair{1.0, 0.0}
                       : std::pair{-s.find("dev_score")->mean, s.find("dev_loss")->mean};
  };
  std::stable_sort(all.begin(), all.end(),
                   [&](const summary& a, const summary& b) { return means(a) < means(b); });
  return all;
}

std::string table_of(std::span<const summary> rows, const std::string& score) {
  const bool tested = std::any_of(rows.begin(), rows.end(), [](const summary& s) {
    return s.find("test_score") != nullptr;
  });
  std::vector<std::vector<std::string>> cells{{"strategy", "trained", "dev " + score,
                                               "test " + score, "time", "memory", "adapter",
                                               "runs"}};
  std::string failures;
  for (const auto& s : rows) {
    const auto value = [&](const char* name) { return s.find(name) ? s.find(name)->mean : 0.0; };
    if (s.failed > 0)
      failures += s.strategy + ": " + std::to_string(s.failed) + " of " +
                  std::to_string(s.done + s.failed) + " runs failed: " + s.reason + "\n";
    if (s.done == 0)
      cells.push_back({s.strategy, "", "failed", "", "", "", "", "0"});
    else
      cells.push_back({s.strategy, printed("%.0f", value("trained_parameters")),
                       cell(s.find("dev_score"), "%.4f", true),
                       cell(s.find("test_score"), "%.4f", true), seconds_text(value("seconds")),
                       bytes_text(value("training_bytes")), bytes_text(value("adapter_bytes")),
                       std::to_string(s.done)});
  }
  if (!tested)
    for (auto& row : cells)
      row.erase(row.begin() + 3);
  return aligned(cells) + failures +
         "Means over the runs ± standard error. Time is that of a training, memory what it needs\n"
         "beside the model: gradient, optimizer and workspace.\n";
}

std::string csv_of(std::span<const summary> rows) {
  struct column {
    std::string name;
    bool with_error;
  };
  std::vector<column> columns;
  for (const char* name : {"learning_rate", "trained_parameters", "total_parameters"})
    columns.push_back({name, false});
  std::set<std::string> scores;
  for (const auto& s : rows)
    for (const auto& [name, value] : s.of)
      if (name.starts_with("dev_") || name.starts_with("test_"))
        scores.insert(name);
  scores.erase("dev_score");  // under its name, too
  scores.erase("test_score");
  for (const auto& name : scores)
    columns.push_back({name, true});
  columns.push_back({"seconds", true});
  for (const char* name : {"tokens_per_second", "gradient_bytes", "optimizer_bytes",
                           "workspace_bytes", "training_bytes", "adapter_bytes"})
    columns.push_back({name, false});
  std::string text = "strategy,runs,failed";
  for (const auto& c : columns)
    text += "," + c.name + (c.with_error ? "," + c.name + "_error" : "");
  for (const auto& s : rows) {
    text += "\n" + s.strategy + "," + std::to_string(s.done) + "," + std::to_string(s.failed);
    for (const auto& c : columns) {
      const spread* value = s.find(c.name);
      text += "," + (value ? printed("%.10g", value->mean) : "");
      if (c.with_error)
        text += "," + (value && std::isfinite(value->error) ? printed("%.10g", value->error) : "");
    }
  }
  return text + "\n";
}

}  // namespace programs
