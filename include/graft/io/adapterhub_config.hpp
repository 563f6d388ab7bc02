// SPDX-License-Identifier: MIT
// AdapterHub's adapter_config.json, as far as it says what an adapter computes: into decorations.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/plain.hpp>
#include <graft/io/adapter_data.hpp>
#include <graft/io/adapterhub_names.hpp>
#include <graft/io/bert_config.hpp>
#include <graft/model/bert.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace graft {

// What the file of one adapter says.
struct adapterhub_config {
  std::string file, name, base;
  adapter_decorations decorations;
  std::vector<std::string> notes;
};

namespace detail {

inline std::string choice(bool yes) { return yes ? "true" : "false"; }

}  // namespace detail

// What a parsed adapter_config.json says of an adapter for a model of this configuration; errors
// call it `file`. What other versions of the library meant is taken as they meant it: "gelu" was
// what is now "gelu_new" where there is no version, and α had no effect in LoRA before 1.1.
//
// Throws checkpoint_error for another model's adapter, and for each option that changes what is
// computed and that graft does not have, by its name.
GRAFT_PLAIN adapterhub_config read_adapterhub_config(const nlohmann::json& json, const bert_config& c,
                                                     const std::string& file);

}  // namespace graft

#if GRAFT_BODIES

#include <graft/io/adapterhub_options.hpp>
#include <graft/io/json.hpp>

#include <nlohmann/json.hpp>

namespace graft {

namespace detail {

// Reads the options of one adapter, those of a union one method after the other.
class adapterhub_config_reader {
 public:
  adapterhub_config_reader(const bert_config& c, adapterhub_config& to, bool task_adapter)
      : c_(c), to_(to), task_adapter_(task_adapter) {}

  void read(const nlohmann::json& json, const std::string& place, bool in_union = false) {
    adapterhub_options options(json, place);
    const auto kind = options.get<std::string>("architecture", "bottleneck");
    if (kind == "union" && !in_union) {
      std::size_t i = 0;
      for (const auto& part : options.get<std::vector<nlohmann::json>>("configs"))
        read(part, place + ": configs[" + std::to_string(i++) + "]", true);
    } else if (kind == "bottleneck") {
      bottlenecks(options);
    } else if (kind == "lora") {
      lora(options);
    } else if (kind == "prefix_tuning") {
      prefix(options);
    } else if (kind == "prompt_tuning") {
      prompt(options);
    } else {
      options.refuse("architecture",
                     "null, lora, prefix_tuning, prompt_tuning or a union of these");
    }
    options.note_unknown(to_.notes);
  }

 private:
  template <class F>
  void for_each_layer(adapterhub_options& options, const F& f) {
    const auto without = options.layers_without(c_.layers);
    for (index_t n = 0; n < c_.layers; ++n)
      if (std::find(without.begin(), without.end(), n) == without.end())
        f(n, "layer." + std::to_string(n) + ".");
  }
  void put(const std::string& path, const std::string& method, adapter_decoration d,
           const adapterhub_options& options) {
    if (!to_.decorations[path].emplace(method, std::move(d)).second)
      throw checkpoint_error(options.file() + ": expected one " + method + " at " + path +
                             ", found two");
  }

  // Columns between the matrices: a whole share of the width, at least one.
  index_t width_of(adapterhub_options& options, const nlohmann::json& factors,
                   index_t layer) const {
    nlohmann::json factor = factors;
    if (factors.is_object()) {
      const std::string own = std::to_string(layer);
      factor = factors.contains(own)         ? factors.at(own)
               : factors.contains("default") ? factors.at("default")
                                             : nlohmann::json();
    }
    const double by = factor.is_number() ? factor.get<double>() : 0;
    const double in = static_cast<double>(c_.width);
    if (!(by > 0 && in / by < 1e6))
      options.refuse("reduction_factor", "a number above 0 for every layer");
    return std::max<index_t>(1, static_cast<index_t>(std::round((in - std::fmod(in, by)) / by)));
  }

  void bottlenecks(adapterhub_options& options) {
    options.ignore({"init_weights", "init_weights_seed", "cross_adapter", "learn_phm", "phm_c_init",
                    "phm_init_range", "hypercomplex_nonlinearity", "inv_adapter_reduction_factor"});
    // Files of 2020 give task adapters an invertible one that they do not have.
    for (const char* key : {"inv_adapter", "invertible_adapter"})
      if (const auto found = options.value(key); !found.is_null() && !task_adapter_)
        options.refuse(key, "null (graft has no invertible adapters)");
      else if (!found.is_null())
        to_.notes.push_back(options.file() + ": " + in_quotes(key) +
                            " of a task adapter was ignored");

    adapter_decoration d;
    const bool kronecker = options.get<bool>("phm_layer", false);
    const bool parallel = options.get<bool>("is_parallel", false);
    d.form["place"] = parallel ? "parallel" : "after";
    d.form["activation"] = options.activation();
    d.numbers.set("scale", scaling(options, d));
    d.numbers.set("dropout", options.get<double>("dropout", 0));
    const double depth = options.get<double>("stochastic_depth", 0);
    d.numbers.set("stochastic_depth", parallel ? 0 : depth);
    d.form["ln_before"] = choice(options.get<bool>("ln_before", false));
    const bool ln_after = options.get<bool>("ln_after", false);
    d.form["ln_after"] = choice(ln_after);
    d.form["adapter_residual_before_ln"] =
        choice(options.get<bool>("adapter_residual_before_ln", false) && ln_after && !parallel);
    d.form["gating"] = choice(options.get<bool>("use_gating", false));
    if (kronecker)
      compacter(options, d);
    else
      options.ignore({"phm_dim", "phm_rank", "phm_bias", "factorized_phm_W", "factorized_phm_rule",
                      "shared_W_phm", "shared_phm_rule"});
    if (!kronecker)
      d.numbers.set("inner", 0);
    const bool in_join = join(options, parallel, d);

    const bool attention = options.get<bool>("mh_adapter"),
               output = options.get<bool>("output_adapter");
    const auto factors = options.value("reduction_factor");
    for_each_layer(options, [&](index_t n, const std::string& layer) {
      d.numbers.set("width", static_cast<double>(width_of(options, factors, n)));
      for (const auto& [there, part] :
           {std::pair{attention, "attention"}, std::pair{output, "feed_forward"}})
        if (there)
          put(layer + part + (in_join ? "_join" : "") + ".adapter",
              kronecker ? "compacter" : "bottleneck", d, options);
    });
  }

  double scaling(adapterhub_options& options, adapter_decoration& d) {
    const auto found = options.value("scaling");
    const bool word = found == "learned" || found == "channel";
    d.form["scaling"] = word ? found.get<std::string>() : "fixed";
    if (!word && !found.is_null() && !found.is_number())
      options.refuse("scaling", "a number, \"learned\" or \"channel\"");
    return found.is_number() ? found.get<double>() : 1;
  }

  // Does the adapter lie in the join? After a sub-layer and beside it, it does not.
  bool join(adapterhub_options& options, bool parallel, adapter_decoration& d) {
    const bool before = options.get<bool>("original_ln_before", false);
    const bool after = options.get<bool>("original_ln_after", true);
    const auto residual = options.value("residual_before_ln");
    if (!residual.is_null() && !residual.is_boolean() && residual != "post_add")
      options.refuse("residual_before_ln", "true, false or \"post_add\"");
    if (parallel && !after)
      options.refuse("original_ln_after", "true where \"is_parallel\" is");
    if (!parallel && residual == "post_add" && !before)
      options.refuse("residual_before_ln",
                     "true or false where \"original_ln_before\" is not true");
    if (parallel || (!before && after))
      return false;
    d.form["original_ln_before"] = choice(before);
    d.form["original_ln_after"] = choice(after);
    d.form["residual"] = residual == "post_add"        ? "post_add"
                         : residual == false && before ? "input"
                                                       : "output";
    return true;
  }

  void compacter(adapterhub_options& options, adapter_decoration& d) {
    for (const char* key : {"ln_before", "ln_after"})
      if (chosen(d, key, "true"))
        options.refuse(key, "false where \"phm_layer\" is true");
    if (chosen(d, "gating", "true"))
      options.refuse("use_gating", "false where \"phm_layer\" is true");
    if (!chosen(d, "scaling", "fixed"))
      options.refuse("scaling", "a number where \"phm_layer\" is true");
    for (const char* option :
         {"ln_before", "ln_after", "adapter_residual_before_ln", "gating", "scaling"})
      d.form.erase(option);
    d.numbers.set("dim", options.count("phm_dim", 4));
    d.numbers.set("rank", options.count("phm_rank", 1));
    d.form["bias"] = choice(options.get<bool>("phm_bias", true));
    d.form["factorized_weight"] = choice(options.get<bool>("factorized_phm_W", true));
    d.form["factorized_rule"] = choice(options.get<bool>("factorized_phm_rule", false));
    d.form["shared_weight"] = choice(options.get<bool>("shared_W_phm", false));
    d.form["shared_rule"] = choice(options.get<bool>("shared_phm_rule", true));
  }

  // Low-rank updates and, where they scale instead of adding, IA3.
  void lora(adapterhub_options& options) {
    options.ignore({"init_weights", "init_weights_seed", "dtype"});
    const auto mode = options.get<std::string>("composition_mode", "add");
    if (mode != "add" && mode != "scale")
      options.refuse("composition_mode", "\"add\" or \"scale\"");
    const bool scales = mode == "scale";
    options.expect("use_dora", false);
    options.expect_null("vera_d");
    options.expect_null("vera_b");
    const int rank = options.count("r", 8);
    const auto alpha = options.get<double>("alpha", 8), dropout = options.get<double>("dropout", 0);
    const bool gating = options.get<bool>("use_gating", false);
    adapter_decoration d;
    if (scales) {
      if (rank != 1 || alpha != 1 || gating)
        options.refuse(
            rank != 1    ? "r"
            : alpha != 1 ? "alpha"
                         : "use_gating",
            rank == 1 && alpha == 1 ? "false where vectors scale" : "1 where vectors scale");
      d.form["place"] = "output";
    } else {
      d.numbers = {{"rank", rank}, {"alpha", alpha}, {"dropout", dropout}, {"over_root", 0}};
      d.form["gating"] = choice(gating);
      d.form["bias"] = "false";
    }
    std::vector<std::string> parts;
    const auto letters = options.get<std::vector<std::string>>("attn_matrices", {"q", "v"});
    if (options.get<bool>("selfattn_lora", true))
      for (const std::string& letter : letters) {
        if (letter != "q" && letter != "k" && letter != "v")
          options.refuse("attn_matrices", "among \"q\", \"k\" and \"v\"");
        parts.push_back(letter == "q"   ? "attention.query"
                        : letter == "k" ? "attention.key"
                                        : "attention.value");
      }
    if (options.get<bool>("intermediate_lora", false))
      parts.push_back("feed_forward.input");
    if (options.get<bool>("output_lora", false))
      parts.push_back("feed_forward.output");
    for_each_layer(options, [&](index_t, const std::string& layer) {
      for (const std::string& part : parts)
        put(layer + part, scales ? "ia3" : "lora", d, options);
    });
  }

  void prefix(adapterhub_options& options) {
    options.ignore({"init_weights_seed", "cross_prefix"});
    options.expect("encoder_prefix", true);
    const bool flat = options.get<bool>("flat", false);
    adapter_decoration d;
    d.numbers.set("tokens", options.count("prefix_length", 30));
    const int hidden = options.count("bottleneck_size", 512);
    d.numbers.set("hidden", flat ? 0 : hidden);
    d.form["encoder"] = flat ? "none" : "mlp";
    if (flat)
      options.ignore({"non_linearity"});
    else
      options.expect<std::string>("non_linearity", "tanh");
    if (options.get<double>("dropout", 0) != 0)
      to_.notes.push_back(options.file() +
                          ": \"dropout\" of the prefixes, which acts in training only, "
                          "was ignored");
    const bool gated = options.get<bool>("use_gating", false),
               one = options.get<bool>("shared_gating", true);
    d.form["gate"] = !gated ? "none" : one ? "one" : "two";
    for_each_layer(options, [&](index_t, const std::string& layer) {
      put(layer + "attention.memory", "prefix", d, options);
    });
  }

  void prompt(adapterhub_options& options) {
    options.ignore(
        {"init_weights_seed", "prompt_init", "prompt_init_text", "random_uniform_scale"});
    options.expect<std::string>("combine", "prefix");
    adapter_decoration d;
    d.numbers = {{"tokens", options.count("prompt_length", 10)}, {"hidden", 0}};
    d.form["encoder"] = "none";
    put("embeddings", "prompt", d, options);
  }

  const bert_config& c_;
  adapterhub_config& to_;
  bool task_adapter_;
};

// "adapters.1.0.1" -> 1.0; older than 1.1 scaled updates by α / r where it said α.
inline bool scaled_by_mistake(const std::string& version) {
  int major = 0, minor = 0;
  return std::sscanf(version.c_str(), "adapters.%d.%d", &major, &minor) == 2 &&
         std::pair(major, minor) < std::pair(1, 1);
}

}  // namespace detail

GRAFT_PLAIN adapterhub_config read_adapterhub_config(const nlohmann::json& json, const bert_config& c,
                                                     const std::string& file) {
  adapterhub_config a;
  a.file = file;
  a.name = get<std::string>(json, "name", file);
  a.base = get<std::string>(json, "model_name", file, "");
  if (order_of(c.family) == norm_order::before)
    throw checkpoint_error(file +
                           ": expected a model that AdapterHub has, found roberta-prelayernorm");
  if (const auto type = get<std::optional<std::string>>(json, "model_type", file);
      type && detail::family_named(*type, file) != c.family)
    throw checkpoint_error(file + ": \"model_type\": expected " +
                           std::string(detail::type_name(c.family)) + ", found " +
                           detail::in_quotes(*type));
  if (const auto width = get<std::optional<index_t>>(json, "hidden_size", file);
      width && *width != c.width)
    throw checkpoint_error(file + ": \"hidden_size\": expected " + std::to_string(c.width) +
                           ", found " + std::to_string(*width));
  auto options = get<nlohmann::json>(json, "config", file);
  const auto version = get<std::optional<std::string>>(json, "version", file);
  if (!version && options.is_object() && options.contains("non_linearity"))
    for (const auto& [then, now] : {std::pair{"gelu", "gelu_new"}, std::pair{"gelu_orig", "gelu"}})
      if (options["non_linearity"] == then) {
        options["non_linearity"] = now;
        break;
      }
  if (version && detail::scaled_by_mistake(*version) && options.is_object() &&
      options.value("architecture", nlohmann::json()) == "lora" && options.contains("r") &&
      options["r"] != options.value("alpha", nlohmann::json(8))) {
    options["alpha"] = options["r"];
    a.notes.push_back(file + ": \"alpha\" was taken to be \"r\", which is what version " +
                      *version + " computed");
  }
  const auto type = get<std::optional<std::string>>(json, "type", file);
  detail::adapterhub_config_reader(c, a, type == "text_task").read(options, file + ": config");
  return a;
}

}  // namespace graft

#endif
