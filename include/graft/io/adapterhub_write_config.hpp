// SPDX-License-Identifier: MIT
// Decorations as AdapterHub's configurations: one for all layers, or a union of several.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/plain.hpp>
#include <graft/io/adapter_data.hpp>
#include <graft/io/adapterhub_names.hpp>
#include <graft/model/bert.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace graft {

namespace detail {

// The decorations of one method at equal places of the layers: "attention.query" by layer.
using by_layer = std::map<index_t, const adapter_decoration*>;

}  // namespace detail

// The "config" of AdapterHub's adapter_config.json for these decorations. How an adapter starts is
// not known any more: it says what the library's own configurations say.
//
// Throws input_error for methods, places and options that AdapterHub does not have, and where
// layers differ in more than the width of their bottlenecks.
GRAFT_PLAIN nlohmann::json write_adapterhub_config(const adapter_decorations& decorations,
                                                   const bert_config& c);

}  // namespace graft

#if GRAFT_BODIES

#include <nlohmann/json.hpp>

namespace graft {

namespace detail {

class adapterhub_config_writer {
 public:
  explicit adapterhub_config_writer(const bert_config& c) : c_(c) {}

  nlohmann::json write(const adapter_decorations& decorations) {
    std::map<std::string, std::map<std::string, by_layer>> methods;
    for (const auto& [path, at_path] : decorations)
      for (const auto& [method, d] : at_path)
        if (path.starts_with("layer."))
          methods[method][place_of(path).part][place_of(path).layer] = &d;
        else
          methods[method][path][0] = &d;
    for (const auto& [method, places] : methods) {
      if (method == "bottleneck" || method == "compacter")
        branches(method == "compacter", places);
      else if (method == "lora" || method == "ia3")
        maps(method == "ia3", places);
      else if (method == "prefix")
        prefix(places);
      else if (method == "prompt")
        prompt(places);
      else
        throw input_error("write_adapterhub: expected methods that AdapterHub has, found " +
                          method);
    }
    if (parts_.empty())
      throw input_error("write_adapterhub: expected an adapter with decorations, found none");
    // Prefixes first, as its own unions have it.
    std::stable_sort(parts_.begin(), parts_.end(),
                     [](const nlohmann::json& a, const nlohmann::json& b) {
                       return a.value("architecture", "") == "prefix_tuning" &&
                              b.value("architecture", "") != "prefix_tuning";
                     });
    if (parts_.size() == 1)
      return parts_.front();
    return {{"architecture", "union"}, {"configs", parts_}};
  }

 private:
  using at_places = std::map<std::string, by_layer>;

  [[noreturn]] static void refuse(const std::string& place, const std::string& what) {
    throw input_error("write_adapterhub: " + place + ": " + what);
  }
  static bool truth(const adapter_decoration& d, const char* option, bool fallback = false) {
    return chosen(d, option, "true", choice_of(fallback));
  }
  static std::string_view choice_of(bool yes) { return yes ? "true" : "false"; }
  static std::string word(const adapter_decoration& d, const char* option, const char* fallback) {
    const auto found = d.form.find(option);
    return found == d.form.end() ? fallback : found->second;
  }
  static nlohmann::json number(double value) {
    if (value == std::floor(value) && std::abs(value) < 1e9)
      return static_cast<std::int64_t>(value);
    return value;
  }
  static double number_of(const adapter_decoration& d, const char* name, double fallback) {
    return d.numbers.find(name).value_or(fallback);
  }
  // The layers that a method leaves out.
  nlohmann::json without(const by_layer& layers) const {
    nlohmann::json left = nlohmann::json::array();
    for (index_t n = 0; n < c_.layers; ++n)
      if (!layers.contains(n))
        left.push_back(n);
    return left;
  }
  // What all layers have; their widths apart.
  static adapter_decoration common(const std::string& place, const by_layer& layers) {
    adapter_decoration first = *layers.begin()->second;
    for (const auto& [n, d] : layers) {
      auto numbers = d->numbers;
      if (const auto width = first.numbers.find("width"))
        numbers.set("width", *width);
      if (!(numbers == first.numbers) || d->form != first.form)
        refuse("layer." + std::to_string(n) + "." + place,
               "expected the options of the other layers, found others");
    }
    return first;
  }

  // The share of the width that gives these columns when it is divided and cut off.
  nlohmann::json factor(index_t width) const {
    const double in = static_cast<double>(c_.width), columns = static_cast<double>(width);
    double by = in / columns;
    if (by * columns > in)
      by = std::nextafter(by, 0);
    return number(by);
  }
  nlohmann::json factors(const by_layer& layers) const {
    std::map<index_t, index_t> widths;
    std::set<index_t> different;
    for (const auto& [n, d] : layers)
      different.insert(widths[n] = size_of(*d, "width", 1));
    if (different.size() == 1)
      return factor(*different.begin());
    nlohmann::json by = nlohmann::json::object();
    for (const auto& [n, width] : widths)
      by[std::to_string(n)] = factor(width);
    return by;
  }

  void branches(bool kronecker, const at_places& at) {
    std::vector<nlohmann::json> configs;
    for (const auto& [place, layers] : at) {
      const auto known = {"attention.adapter", "attention_join.adapter", "feed_forward.adapter",
                          "feed_forward_join.adapter"};
      if (std::find(known.begin(), known.end(), place) == known.end())
        refuse(place,
               "expected a place after or beside a sub-layer, or in its join, found another");
      nlohmann::json config = branch(place, kronecker, common(place, layers));
      config["reduction_factor"] = factors(layers);
      config["leave_out"] = without(layers);
      auto& other =
          place.starts_with("attention") ? config["mh_adapter"] : config["output_adapter"];
      other = true;
      const auto equal = std::find_if(configs.begin(), configs.end(), [&](nlohmann::json before) {
        before["mh_adapter"] = config["mh_adapter"];
        before["output_adapter"] = config["output_adapter"];
        return before == config;
      });
      if (equal == configs.end())
        configs.push_back(config);
      else
        (*equal)["mh_adapter"] = (*equal)["output_adapter"] = true;
    }
    parts_.insert(parts_.end(), configs.begin(), configs.end());
  }

  nlohmann::json branch(const std::string& place, bool kronecker,
                        const adapter_decoration& d) const {
    const std::string where = word(d, "place", "after");
    const bool parallel = where == "parallel", in_join = place.find("_join") != std::string::npos;
    if (where != "after" && (!parallel || in_join))
      refuse(place, "expected place after or parallel, found " + where);
    if (!d.form.contains("activation"))
      refuse(place, "expected the form of a bottleneck with its activation, found none");
    if (number_of(d, "inner", 0) != 0)
      refuse(place, "expected two matrices, found three (inner is not 0)");
    const std::string residual = in_join ? word(d, "residual", "output") : "output";
    const std::string scaling = word(d, "scaling", "fixed");
    nlohmann::json config{
        {"adapter_residual_before_ln", truth(d, "adapter_residual_before_ln")},
        {"cross_adapter", false},
        {"dropout", number_of(d, "dropout", 0)},
        {"factorized_phm_W", true},
        {"factorized_phm_rule", false},
        {"hypercomplex_nonlinearity", "glorot-uniform"},
        {"init_weights", parallel ? "mam_adapter" : "bert"},
        {"init_weights_seed", nullptr},
        {"inv_adapter", nullptr},
        {"inv_adapter_reduction_factor", nullptr},
        {"is_parallel", parallel},
        {"learn_phm", true},
        {"ln_after", truth(d, "ln_after")},
        {"ln_before", truth(d, "ln_before")},
        {"mh_adapter", false},
        {"non_linearity", activation_word(d.form.at("activation"))},
        {"original_ln_after", !in_join || truth(d, "original_ln_after", true)},
        {"original_ln_before", in_join && truth(d, "original_ln_before", true)},
        {"output_adapter", false},
        {"phm_bias", true},
        {"phm_c_init", "normal"},
        {"phm_dim", 4},
        {"phm_init_range", 0.0001},
        {"phm_layer", kronecker},
        {"phm_rank", 1},
        {"residual_before_ln", true},
        {"scaling", number_of(d, "scale", 1)},
        {"shared_W_phm", false},
        {"shared_phm_rule", true},
        {"stochastic_depth", number_of(d, "stochastic_depth", 0)},
        {"use_gating", truth(d, "gating")},
    };
    if (residual != "output")
      config["residual_before_ln"] =
          residual == "input" ? nlohmann::json(false) : nlohmann::json(residual);
    if (scaling != "fixed")
      config["scaling"] = scaling;
    if (kronecker)
      config.update({{"factorized_phm_W", truth(d, "factorized_weight", true)},
                     {"factorized_phm_rule", truth(d, "factorized_rule")},
                     {"shared_W_phm", truth(d, "shared_weight")},
                     {"shared_phm_rule", truth(d, "shared_rule", true)},
                     {"phm_bias", truth(d, "bias", true)},
                     {"phm_dim", size_of(d, "dim", 1)},
                     {"phm_rank", size_of(d, "rank", 1)}});
    return config;
  }
  static std::string activation_word(const std::string& name) {
    return name == "silu" ? "swish" : name == "identity" ? "linear" : name;
  }

  void maps(bool scales, const at_places& at) {
    static constexpr std::array<std::pair<std::string_view, std::string_view>, 5> all{{
        {"attention.query", "q"},
        {"attention.key", "k"},
        {"attention.value", "v"},
        {"feed_forward.input", "intermediate"},
        {"feed_forward.output", "output"},
    }};
    nlohmann::json letters = nlohmann::json::array();
    for (const auto& [place, letter] : all)
      if (letter.size() == 1 && at.contains(std::string(place)))
        letters.push_back(letter);
    const auto& [first_place, first] = *at.begin();
    const adapter_decoration d = common(first_place, first);
    for (const auto& [place, layers] : at) {
      if (std::none_of(all.begin(), all.end(),
                       [&p = place](const auto& known) { return known.first == p; }))
        refuse(
            place,
            "expected query, key, value, feed_forward.input or feed_forward.output, found another");
      const adapter_decoration here = common(place, layers);
      if (!(here.numbers == d.numbers) || here.form != d.form || without(layers) != without(first))
        refuse(place, "expected the options and layers of " + first_place + ", found others");
    }
    if (scales ? !chosen(d, "place", "output", "output") : truth(d, "bias"))
      refuse(first_place, scales ? "expected vectors that scale outputs, found place input"
                                 : "expected updates without a bias, found one");
    const double rank = scales ? 1 : static_cast<double>(size_of(d, "rank", 1));
    const double root = number_of(d, "over_root", 0) == 1 ? std::sqrt(rank) : 1;
    parts_.push_back({{"architecture", "lora"},
                      {"alpha", number(scales ? 1 : number_of(d, "alpha", 8) * root)},
                      {"attn_matrices", letters},
                      {"composition_mode", scales ? "scale" : "add"},
                      {"dropout", number_of(d, "dropout", 0)},
                      {"dtype", nullptr},
                      {"init_weights", scales ? "ia3" : "lora"},
                      {"init_weights_seed", nullptr},
                      {"intermediate_lora", at.contains("feed_forward.input")},
                      {"leave_out", without(first)},
                      {"output_lora", at.contains("feed_forward.output")},
                      {"r", number(rank)},
                      {"selfattn_lora", !letters.empty()},
                      {"use_dora", false},
                      {"use_gating", truth(d, "gating")},
                      {"vera_b", nullptr},
                      {"vera_d", nullptr}});
  }

  void prefix(const at_places& at) {
    if (at.size() != 1 || at.begin()->first != "attention.memory")
      refuse(at.begin()->first,
             "expected prefixes at attention.memory alone, found others (AdapterHub's "
             "do not move positions)");
    const auto& [place, layers] = *at.begin();
    const adapter_decoration d = common(place, layers);
    const bool flat = chosen(d, "encoder", "none", "none");
    const std::string gate = word(d, "gate", "none");
    parts_.push_back({{"architecture", "prefix_tuning"},
                      {"bottleneck_size", flat ? 512 : size_of(d, "hidden", 1)},
                      {"cross_prefix", true},
                      {"dropout", 0.0},
                      {"encoder_prefix", true},
                      {"flat", flat},
                      {"init_weights_seed", nullptr},
                      {"leave_out", without(layers)},
                      {"non_linearity", "tanh"},
                      {"prefix_length", size_of(d, "tokens", 1)},
                      {"shared_gating", gate != "two"},
                      {"use_gating", gate != "none"}});
  }

  void prompt(const at_places& at) {
    if (at.size() != 1 || at.begin()->first != "embeddings")
      refuse(at.begin()->first, "expected a prompt at the embeddings, found it at another place");
    const adapter_decoration& d = *at.begin()->second.begin()->second;
    if (!chosen(d, "encoder", "none", "none"))
      refuse("embeddings", "expected rows without an encoder, found one");
    parts_.push_back({{"architecture", "prompt_tuning"},
                      {"combine", "prefix"},
                      {"init_weights_seed", nullptr},
                      {"prompt_init", "random_uniform"},
                      {"prompt_init_text", nullptr},
                      {"prompt_length", size_of(d, "tokens", 1)}});
  }

  const bert_config& c_;
  std::vector<nlohmann::json> parts_;
};

}  // namespace detail

GRAFT_PLAIN nlohmann::json write_adapterhub_config(const adapter_decorations& decorations,
                                                   const bert_config& c) {
  return detail::adapterhub_config_writer(c).write(decorations);
}

}  // namespace graft

#endif
