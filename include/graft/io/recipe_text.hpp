// SPDX-License-Identifier: MIT
// The recipe that would hold an adapter, as C++ to paste into a program.
#pragma once

#include <graft/core/plain.hpp>
#include <graft/io/adapter_data.hpp>
#include <graft/io/recipe_json.hpp>

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace graft {

// A struct with the recipe that holds an adapter, for a model of so many layers. Places that no recipe
// can name are in a comment.
GRAFT_PLAIN std::string recipe_text(const adapter_data& a, index_t layers);

}  // namespace graft

#if GRAFT_BODIES

namespace graft {

namespace detail {

// The type of an option whose values describe() spells as its enumerators are called.
inline std::string_view enum_of(std::string_view method, std::string_view option) {
  struct row {
    std::string_view method, option, type;
  };
  for (const row& r :
       {row{"bottleneck", "place", "placement"}, row{"bottleneck", "activation", "activation"},
        row{"bottleneck", "init", "adapter_init"}, row{"bottleneck", "scaling", "adapter_scaling"},
        row{"bottleneck", "residual", "adapter_residual"}, row{"compacter", "activation", "activation"},
        row{"ia3", "place", "ia3_place"}, row{"prompt", "encoder", "prompt_encoder"},
        row{"prefix", "encoder", "prompt_encoder"}, row{"prefix", "gate", "prefix_gate"}})
    if (r.method == method && r.option == option)
      return r.type;
  return {};
}

// "lora{.rank = dynamic, .bias = true}". Options in the order of their struct are the caller's to give.
inline std::string decoration_text(const std::string& method, const adapter_decoration& d,
                                   bool with_bias) {
  std::vector<std::pair<std::string, std::string>> options;
  const auto number = [&](const char* name) {
    if (const auto value = d.numbers.find(name)) {
      char digits[32];
      std::snprintf(digits, sizeof digits, "%g", *value);
      options.emplace_back(name, digits);
    }
  };
  if (method == "lora" || method == "dora")
    options.emplace_back("rank", "dynamic");
  else
    for (const char* name : {"width", "rank", "tokens"})
      number(name);
  for (const auto& [name, value] : d.form)
    if (const auto type = enum_of(method, name); !type.empty())
      options.emplace_back(name, std::string(type) + "::" + value);
    else if (value == "true" || value == "false")
      options.emplace_back(name, value);
  if (with_bias)
    options.emplace_back("bias", "true");
  std::string text = method + "{";
  for (std::size_t i = 0; i < options.size(); ++i)
    text += (i ? ", ." : ".") + options[i].first + " = " + options[i].second;
  return text + "}";
}

// The layers of a set as ranges of a rule; nothing for all of them.
inline std::vector<std::string> ranges_text(const std::set<index_t>& in, index_t layers) {
  if (static_cast<index_t>(in.size()) == layers)
    return {""};
  std::vector<std::string> ranges;
  for (auto it = in.begin(); it != in.end();) {
    const index_t first = *it;
    index_t last = first;
    while (it != in.end() && *it == last) {
      ++it;
      ++last;
    }
    ranges.push_back(", between(" + std::to_string(first) + ", " + std::to_string(last) + ")");
  }
  return ranges;
}

// Which layers (-1: outside the stack) have what at which site, in the order of first mention.
class site_table {
 public:
  void add(const std::string& what, std::string_view site, index_t layer) {
    auto& sites = of(what);
    const auto found = std::find_if(sites.begin(), sites.end(),
                                    [&](const auto& s) { return s.first == site; });
    (found == sites.end() ? sites.emplace_back(site, std::set<index_t>{}) : *found)
        .second.insert(layer);
  }
  // The rules, without indentation; sites that have the same in the same layers are one rule.
  std::vector<std::string> rules(index_t layers) const {
    std::vector<std::string> lines;
    for (const auto& [what, sites] : table_) {
      std::vector<std::pair<std::set<index_t>, std::string>> together;
      for (const auto& [site, in] : sites) {
        const auto same = std::find_if(together.begin(), together.end(),
                                       [&, &where = in](const auto& t) { return t.first == where; });
        if (same == together.end())
          together.emplace_back(in, "at::" + std::string(site));
        else
          same->second += " | at::" + std::string(site);
      }
      for (const auto& [in, names] : together)
        for (const std::string& range :
             in.contains(-1) ? std::vector<std::string>{""} : ranges_text(in, layers))
          lines.push_back("on(" + names + ", " + what + range + ")");
    }
    return lines;
  }

 private:
  using site_list = std::vector<std::pair<std::string_view, std::set<index_t>>>;
  site_list& of(const std::string& what) {
    for (auto& [known, sites] : table_)
      if (known == what)
        return sites;
    return table_.emplace_back(what, site_list{}).second;
  }
  std::vector<std::pair<std::string, site_list>> table_;
};

}  // namespace detail

GRAFT_PLAIN std::string recipe_text(const adapter_data& a, index_t layers) {
  detail::site_table decorated, trained;
  std::set<std::string> unknown;
  std::vector<std::string> inside;  // paths of decorations: what begins so is no base's
  for (const auto& [path, methods] : a.decorations)
    for (const auto& [method, decoration] : methods) {
      inside.push_back(detail::adapted_path(path) != path ? path + "." : path + "." + method);
      inside.push_back(method + ".");  // what layers share
      const auto site = detail::site_label_of(path);
      if (!site)
        unknown.insert(path);
      else
        decorated.add(detail::decoration_text(method, decoration,
                                              a.tensors.contains(path + ".lora.bias")),
                      *site, detail::layer_of(path).value_or(-1));
    }
  std::map<std::string, bool> whole;  // base layers, and is more than their bias in it?
  for (const auto& [path, matrix] : a.tensors) {
    const std::size_t dot = path.rfind('.');
    const std::string ending = dot == std::string::npos ? "" : path.substr(dot);
    if ((ending == ".weight" || ending == ".bias") &&
        std::none_of(inside.begin(), inside.end(),
                     [&p = path](const std::string& d) { return p.starts_with(d); }))
      whole[path.substr(0, dot)] |= ending == ".weight";
  }
  for (const auto& [path, all] : whole)
    if (const auto site = detail::site_label_of(path))
      trained.add(all ? "train{}" : "train{biases}",
                  site->starts_with("head") || *site == "classifier" ? "head" : *site,
                  detail::layer_of(path).value_or(-1));
    else
      unknown.insert(path);
  std::string text = "struct its_tuning {\n  static constexpr recipe rules{";
  bool first = true;
  for (const auto* table : {&decorated, &trained})
    for (const std::string& rule : table->rules(layers)) {
      text += (first ? "" : ",\n                                ") + rule;
      first = false;
    }
  text += "};\n};\n";
  for (const std::string& path : unknown)
    text += "// no site: " + path + "\n";
  return text;
}

}  // namespace graft

#endif
