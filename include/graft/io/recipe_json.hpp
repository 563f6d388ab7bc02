// SPDX-License-Identifier: MIT
// A tuning's rules as JSON, and which of them holds at the path of a layer.
#pragma once

#include <graft/core/part_list.hpp>
#include <graft/core/plain.hpp>
#include <graft/io/adapter_data.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/occupant.hpp>
#include <graft/tuning/recipe.hpp>

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace graft {

namespace detail {

// Do two recipes, as JSON, put the same methods at the same places? Their numbers (of which `decorations` has
// those of each layer) and how they start may differ; a choice that one does not know is false.
GRAFT_PLAIN bool same_places(const std::string& a, const std::string& b);

// A recipe's JSON, rule by rule, and the options of each rule's decoration.
class recipe_writer {
 public:
  recipe_writer();
  void add_rule(std::span<const std::string_view> sites, std::string_view method,
                const depth_range& where);
  void add(std::string_view option, bool value);
  void add(std::string_view option, int value);
  void add(std::string_view option, double value);
  void add(std::string_view option, std::string_view value);
  void add(std::string_view option, const char* value) { add(option, std::string_view(value)); }
  void add(std::string_view option, std::span<const int> values);
  void add(std::string_view option, std::span<const float> values);

  std::string text() const;

 private:
  nlohmann::json& decoration();

  std::shared_ptr<nlohmann::json> rules_;
};

template <class... Sites>
constexpr std::array<std::string_view, sizeof...(Sites)> site_labels(selection<Sites...>) {
  return {Sites::label...};
}

}  // namespace detail

// A tuning's rules as JSON: sites, decoration and depth of each, but for decorations that say they
// need not be told (`in_files = false`).
template <tuning T>
std::string recipe_json() {
  detail::recipe_writer rules;
  detail::for_each_rule<T>([&](auto r) {
    using rule_type = detail::rule_type<T, r()>;
    using what_type = typename rule_type::what_type;
    if constexpr (requires { requires !what_type::in_files; })
      return;
    const auto& rule = detail::rule_at<T, r()>;
    rules.add_rule(detail::site_labels(typename rule_type::where_type{}), what_type::name, rule.where);
    if constexpr (requires { rule.what.describe([](auto, auto) {}); })
      rule.what.describe([&](std::string_view key, auto value) { rules.add(key, value); });
  });
  return rules.text();
}

namespace detail {

// Adapters beside a layer list themselves as its part `adapter`, several as parts of that.
GRAFT_PLAIN std::string_view adapted_path(std::string_view path);

GRAFT_PLAIN std::optional<std::string_view> site_label_of(std::string_view path);

template <class Where, class... Sites>
bool selects_label(selection<Sites...>, std::string_view label) {
  return ((Sites::label == label && Where::template selects<Sites>) || ...);
}

// The structure of the decoration that T puts around the layer at `path` by that method: its options
// that are no numbers, but for how it starts and what its numbers (over_root) or tensors (a bias) tell.
// Nothing where T has no such rule.
template <tuning T>
std::optional<std::map<std::string, std::string, std::less<>>> form_at(std::string_view path,
                                                                       std::string_view method,
                                                                       index_t layers) {
  const auto label = site_label_of(path);
  const auto number = layer_of(path);
  const depth where = number ? depth{static_cast<int>(*number),
                                     static_cast<int>(layers - 1 - *number)}
                             : depth{};
  std::optional<std::map<std::string, std::string, std::less<>>> found;
  if (!label)
    return found;
  using all_sites = decltype(bert_classifier_sites{} | at::encoder_norm);
  const bool low_rank = method == "lora" || method == "dora";
  const auto take = [&](const auto& what) {
    found.emplace();
    if constexpr (requires { what.describe([](auto, auto) {}); })
      what.describe([&](std::string_view key, auto value) {
        if (key == "init" || (low_rank && (key == "scaling" || key == "bias")))
          return;
        if constexpr (std::is_same_v<decltype(value), bool>)
          found->insert_or_assign(std::string(key), value ? "true" : "false");
        else if constexpr (std::is_convertible_v<decltype(value), std::string_view>)
          found->insert_or_assign(std::string(key), value);
      });
  };
  for_each_rule<T>([&](auto r) {
    using rule = rule_type<T, r()>;
    const auto& what = rule_at<T, r()>.what;
    if (!rule_at<T, r()>.where.holds(where) ||
        !selects_label<typename rule::where_type>(all_sites{}, *label))
      return;
    if (rule::what_type::name == method)
      take(what);
    else if constexpr (requires { what.each.describe([](auto, auto) {}); })  // of a composition
      if (what.each.name == method)
        take(what.each);
  });
  return found;
}

}  // namespace detail

}  // namespace graft

#if GRAFT_BODIES

#include <nlohmann/json.hpp>

namespace graft {

namespace detail {

// The value of a key, null where there is none.
inline nlohmann::json value_at(const nlohmann::json& json, const char* key) {
  return json.is_object() && json.contains(key) ? json.at(key) : nlohmann::json();
}

GRAFT_PLAIN bool same_places(const std::string& one, const std::string& other) {
  const auto a = nlohmann::json::parse(one), b = nlohmann::json::parse(other);
  if (!a.is_array() || !b.is_array() || a.size() != b.size())
    return false;
  const auto structure = [](const nlohmann::json& rule) {
    nlohmann::json kept = value_at(rule, "decoration");
    for (auto it = kept.begin(); kept.is_object() && it != kept.end();)
      if (it->is_number() || *it == false || it.key() == "init")
        it = kept.erase(it);
      else
        ++it;
    return kept;
  };
  for (std::size_t i = 0; i < a.size(); ++i) {
    for (const char* key : {"sites", "top", "bottom", "first", "below"})
      if (value_at(a[i], key) != value_at(b[i], key))
        return false;
    if (structure(a[i]) != structure(b[i]))
      return false;
  }
  return true;
}

GRAFT_PLAIN recipe_writer::recipe_writer()
    : rules_(std::make_shared<nlohmann::json>(nlohmann::json::array())) {}

GRAFT_PLAIN void recipe_writer::add_rule(std::span<const std::string_view> sites, std::string_view method,
                                         const depth_range& where) {
  nlohmann::json rule{{"decoration", {{"method", method}}}};
  for (const std::string_view site : sites)
    rule["sites"].push_back(site);
  if (where.top < unbounded)
    rule["top"] = where.top;
  if (where.bottom < unbounded)
    rule["bottom"] = where.bottom;
  if (where.first > 0)
    rule["first"] = where.first;
  if (where.below > 0)
    rule["below"] = where.below;
  rules_->push_back(std::move(rule));
}

GRAFT_PLAIN nlohmann::json& recipe_writer::decoration() { return rules_->back()["decoration"]; }

GRAFT_PLAIN void recipe_writer::add(std::string_view option, bool value) {
  decoration()[std::string(option)] = value;
}
GRAFT_PLAIN void recipe_writer::add(std::string_view option, int value) {
  decoration()[std::string(option)] = value;
}
GRAFT_PLAIN void recipe_writer::add(std::string_view option, double value) {
  decoration()[std::string(option)] = value;
}
GRAFT_PLAIN void recipe_writer::add(std::string_view option, std::string_view value) {
  decoration()[std::string(option)] = value;
}
GRAFT_PLAIN void recipe_writer::add(std::string_view option, std::span<const int> values) {
  decoration()[std::string(option)] = std::vector<int>(values.begin(), values.end());
}
GRAFT_PLAIN void recipe_writer::add(std::string_view option, std::span<const float> values) {
  decoration()[std::string(option)] = std::vector<float>(values.begin(), values.end());
}

GRAFT_PLAIN std::string recipe_writer::text() const { return rules_->dump(); }

// What recipes call the site at the path of a layer of ours, after "layer.N." where there is one.
inline constexpr std::array<std::pair<std::string_view, std::string_view>, 13> layer_sites{{
    {"", at::layer_t::label},
    {"attention", at::attention_t::label},
    {"attention.query", at::query_t::label},
    {"attention.key", at::key_t::label},
    {"attention.value", at::value_t::label},
    {"attention.memory", at::memory_t::label},
    {"attention.output", at::attention_output_t::label},
    {"attention.norm", at::attention_norm_t::label},
    {"feed_forward", at::feed_forward_t::label},
    {"feed_forward.input", at::feed_forward_input_t::label},
    {"feed_forward.output", at::feed_forward_output_t::label},
    {"feed_forward.norm", at::feed_forward_norm_t::label},
    {"attention_join", at::attention_join_t::label},
}};

inline constexpr std::array<std::pair<std::string_view, std::string_view>, 13> other_sites{{
    {"feed_forward_join", at::feed_forward_join_t::label},
    {"attention_join.norm", at::attention_join_t::label},
    {"feed_forward_join.norm", at::feed_forward_join_t::label},
    {"embeddings", at::embeddings_t::label},
    {"embeddings.word", at::word_t::label},
    {"embeddings.position", at::position_t::label},
    {"embeddings.token_type", at::token_type_t::label},
    {"embeddings.norm", at::embedding_norm_t::label},
    {"encoder_norm", at::encoder_norm_t::label},
    {"pooler", at::pooler_t::label},
    {"head", at::head_t::label},
    {"head.dense", at::head_dense_t::label},
    {"head.classifier", at::classifier_t::label},
}};

GRAFT_PLAIN std::string_view adapted_path(std::string_view path) {
  const std::size_t at = path.rfind(".adapter");
  const bool whole = at != std::string_view::npos &&
                     (at + 8 == path.size() || path[at + 8] == '.');
  return whole ? path.substr(0, at) : path;
}

GRAFT_PLAIN std::optional<std::string_view> site_label_of(std::string_view path) {
  path = adapted_path(path);
  const bool inside = layer_of(path).has_value();
  std::string_view part = path;
  if (inside) {
    const std::size_t end = path.find('.', 6);
    part = end == std::string_view::npos ? std::string_view() : path.substr(end + 1);
  }
  if (inside || !part.empty())
    for (const auto* table : {&layer_sites, &other_sites})
      for (const auto& [ours, label] : *table)
        if (ours == part && (inside || table == &other_sites))
          return label;
  return std::nullopt;
}

}  // namespace detail

}  // namespace graft

#endif
