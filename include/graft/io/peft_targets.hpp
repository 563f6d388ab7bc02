// SPDX-License-Identifier: MIT
// How PEFT's configuration says the same of many modules in few words.
#pragma once

#include <graft/core/plain.hpp>
#include <graft/io/module_names.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>

#include <nlohmann/json_fwd.hpp>

namespace graft::detail {

// The number that most have; the smaller of two.
GRAFT_PLAIN double most_common(const std::map<std::string, double>& values);

GRAFT_PLAIN nlohmann::json number_json(double value);

// What the values of `values` that are not the common one are called by.
GRAFT_PLAIN nlohmann::json pattern_json(const std::map<std::string, double>& values, double common);

// The shortest names whose modules are just these: "query" where no other module is called so.
GRAFT_PLAIN std::set<std::string> target_names(const std::set<std::string>& modules,
                                               const module_names& names);

}  // namespace graft::detail

#if GRAFT_BODIES

#include <nlohmann/json.hpp>

namespace graft::detail {

GRAFT_PLAIN double most_common(const std::map<std::string, double>& values) {
  std::map<double, int> counts;
  for (const auto& [module, value] : values)
    ++counts[value];
  double best = 0;
  int most = 0;
  for (const auto& [value, count] : counts)
    if (count > most) {
      best = value;
      most = count;
    }
  return best;
}

GRAFT_PLAIN nlohmann::json number_json(double value) {
  if (value == std::floor(value) && std::abs(value) < 1e15)
    return static_cast<std::int64_t>(value);
  return value;
}

GRAFT_PLAIN nlohmann::json pattern_json(const std::map<std::string, double>& values, double common) {
  nlohmann::json pattern = nlohmann::json::object();
  for (const auto& [module, value] : values)
    if (value != common)
      pattern[module] = number_json(value);
  return pattern;
}

// The last `parts` steps of a module's name.
inline std::string ending_of(const std::string& module, int parts) {
  std::size_t at = module.size();
  for (; parts > 0 && at != std::string::npos; --parts)
    at = at == 0 ? std::string::npos : module.rfind('.', at - 1);
  return at == std::string::npos ? module : module.substr(at + 1);
}

GRAFT_PLAIN std::set<std::string> target_names(const std::set<std::string>& modules,
                                               const module_names& names) {
  for (int parts = 1; parts <= 4; ++parts) {
    std::set<std::string> short_names;
    for (const std::string& module : modules)
      short_names.insert(ending_of(module, parts));
    const bool exact = std::none_of(names.modules.begin(), names.modules.end(), [&](const auto& m) {
      return !modules.contains(m.second) &&
             std::any_of(short_names.begin(), short_names.end(), [&](const std::string& name) {
               return m.second == name || m.second.ends_with("." + name);
             });
    });
    if (exact)
      return short_names;
  }
  return modules;
}

}  // namespace graft::detail

#endif
