// SPDX-License-Identifier: MIT
// What AdapterHub's files call the tensors of an adapter, and how they lie in them.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/part_list.hpp>
#include <graft/core/plain.hpp>
#include <graft/io/adapter_data.hpp>
#include <graft/io/bert_names.hpp>
#include <graft/model/bert.hpp>

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace graft {

using adapter_decorations = std::map<std::string, std::map<std::string, adapter_decoration>>;

// | member        | meaning                                                                  |
// | path          | of our parameter [rows, cols]                                            |
// | name, shape   | of the file's tensor that it lies in                                     |
// | first, stride | its element [i, j] is the tensor's number first + i * stride + j         |
// | twins         | further names that a file may have for the tensor: modules that share it |
struct adapterhub_tensor {
  std::string path;
  index_t rows = 0, cols = 0;
  std::string name;
  std::vector<index_t> shape;
  index_t first = 0, stride = 0;
  std::vector<std::string> twins = {};
};

namespace detail {

// Does a decoration have this choice? Where it does not say, it has the fallback.
GRAFT_PLAIN bool chosen(const adapter_decoration& d, std::string_view option, std::string_view choice,
                        std::string_view fallback = "false");

// A decoration's size, at least `least`.
GRAFT_PLAIN index_t size_of(const adapter_decoration& d, const char* number, int least);

// "layer.3.attention.query" -> 3, "attention.query".
struct place_in_layer {
  index_t layer = 0;
  std::string part;
};

GRAFT_PLAIN place_in_layer place_of(const std::string& path);

// "layer.0.feed_forward_join.adapter…" -> "layer.0.feed_forward_join.adapter.a…"
GRAFT_PLAIN std::string path_of_member(const std::string& path, char letter);

// Lists the tensors of one adapter.
class adapterhub_lister {
 public:
  adapterhub_lister(const bert_config& c, std::string adapter, std::vector<adapterhub_tensor>& to)
      : c_(c), base_(prefix_of(c.family)), adapter_(std::move(adapter)), to_(to) {}

  void list(const std::string& path, const std::string& method, const adapter_decoration& d) {
    if (method == "bottleneck" || method == "compacter")
      branch(path, method == "compacter", d);
    else if (method == "lora")
      lora(path, d);
    else if (method == "ia3")
      add(path + ".ia3.scale", 1, sizes(path).first, dense(path) + "loras." + adapter_ + ".lora_B",
          {sizes(path).first, 1});
    else if (method == "prefix")
      prefix(path, d);
    else if (method == "prompt")
      add_matrix(path + ".prompt.rows", size_of(d, "tokens", 1), c_.width,
                 base_ + "prompt_tuning.prompt_tunings." + adapter_ + ".prompt_embedding.weight");
    else
      throw input_error(path + ": expected a method that AdapterHub has, found " + method);
  }
  void finish() { prefixes(); }

  // Query, key and value of a fusion at `place` (layer.N.feed_forward_join), and where its adapters
  // are.
  void fusion(const std::string& place, const std::string& name, bool value) {
    const std::string theirs = output(place) + "adapter_fusion_layer." + name + ".";
    const std::string ours = place + ".adapter.fusion.";
    for (const char* part : {"query", "key"})
      add_linear(ours + part, c_.width, c_.width, theirs + part);
    if (value)
      add_matrix(ours + "value.weight", c_.width, c_.width, theirs + "value.weight");
  }

 private:
  void add(std::string path, index_t rows, index_t cols, std::string name,
           std::vector<index_t> shape) {
    to_.push_back({std::move(path), rows, cols, std::move(name), std::move(shape), 0, cols});
  }
  void add_matrix(std::string path, index_t rows, index_t cols, std::string name) {
    add(std::move(path), rows, cols, std::move(name), {rows, cols});
  }
  void add_vector(std::string path, index_t size, std::string name) {
    add(std::move(path), 1, size, std::move(name), {size});
  }
  void add_linear(const std::string& path, index_t out, index_t in, const std::string& name) {
    add_matrix(path + ".weight", out, in, name + ".weight");
    add_vector(path + ".bias", out, name + ".bias");
  }

  // "bert.encoder.layer.0.attention.self.query.", and its sizes out and in.
  std::string dense(const std::string& path) const {
    const auto name = checkpoint_name(c_.family, path + ".weight");
    if (!name)
      throw input_error(path + ": expected a dense layer of the model, found none");
    return name->substr(0, name->size() - std::string_view("weight").size());
  }
  std::pair<index_t, index_t> sizes(const std::string& path) const {
    if (path.ends_with("feed_forward.input"))
      return {c_.inner, c_.width};
    return {c_.width, path.ends_with("feed_forward.output") ? c_.inner : c_.width};
  }
  std::string layer(index_t n) const {
    return base_ + std::string(layers_name(c_.family)) + std::to_string(n) + ".";
  }
  // The module behind a sub-layer.
  std::string output(const std::string& path) const {
    const auto [n, part] = place_of(path);
    const bool attention = part.starts_with("attention");
    if (c_.family == bert_family::distilbert)
      return layer(n) + (attention ? "attention_adapters." : "output_adapters.");
    return layer(n) + (attention ? "attention.output." : "output.");
  }
  std::string prefix_module(index_t n) const {
    return layer(n) + (c_.family == bert_family::distilbert ? "attention." : "attention.self.") +
           "prefix_tuning.";
  }

  void branch(const std::string& path, bool kronecker, const adapter_decoration& d) {
    const std::string theirs = output(path) + "adapters." + adapter_ + ".";
    const index_t in = c_.width, width = size_of(d, "width", 1);
    const bool ln_before = chosen(d, "ln_before", "true");
    const std::string down = theirs + "adapter_down." + (ln_before ? "1" : "0");
    if (ln_before)
      for (const char* part : {"weight", "bias"}) {
        add_vector(path + ".ln_before." + part, in, theirs + "adapter_norm_before." + part);
        to_.back().twins = {theirs + "adapter_down.0." + part};
      }
    if (kronecker) {
      matrices(path + ".down", down, in, width, "down", d);
      matrices(path + ".up", theirs + "adapter_up", width, in, "up", d);
    } else {
      add_linear(path + ".down", width, in, down);
      add_linear(path + ".up", in, width, theirs + "adapter_up");
    }
    if (chosen(d, "scaling", "learned", "fixed"))
      add_vector(path + ".scale", 1, theirs + "scaling");
    if (chosen(d, "scaling", "channel", "fixed"))
      add_vector(path + ".scale", in, theirs + "scaling");
    if (chosen(d, "gating", "true"))
      add_linear(path + ".gate", 1, in, theirs + "gate");
    if (chosen(d, "ln_after", "true"))
      for (const char* part : {"weight", "bias"})
        add_vector(path + ".ln_after." + part, in, theirs + "adapter_norm_after." + part);
  }

  // A sum of Kronecker products; what all layers share is listed once.
  void matrices(const std::string& path, const std::string& theirs, index_t in, index_t out,
                const std::string& which, const adapter_decoration& d) {
    const index_t m = size_of(d, "dim", 1), rank = size_of(d, "rank", 1);
    const std::string shared = base_ + "shared_parameters." + adapter_ + ".";
    const bool one_rule = chosen(d, "shared_rule", "true", "true");
    bank(one_rule ? "compacter.rule" : path + ".rule",
         one_rule ? shared + "phm_rule" : theirs + ".phm_rule", {m, m, m},
         chosen(d, "factorized_rule", "true") ? 1 : 0);
    const bool one_weight = chosen(d, "shared_weight", "true");
    bank(one_weight ? "compacter." + which : path + ".weight",
         one_weight ? shared + "W_" + which : theirs + ".W", {m, in / m, out / m},
         chosen(d, "factorized_weight", "true", "true") ? rank : 0);
    if (chosen(d, "bias", "true", "true"))
      add_vector(path + ".bias", out, theirs + ".b");
  }
  void bank(const std::string& path, const std::string& name, const std::vector<index_t>& shape,
            index_t rank) {
    for (const adapterhub_tensor& t : to_)
      if (t.path == path || t.path == path + "_left")
        return;
    const index_t m = shape[0], rows = shape[1], cols = shape[2];
    if (rank == 0)
      return add(path, m, rows * cols, name, shape);
    add(path + "_left", m, rows * rank, name + "_left", {m, rows, rank});
    add(path + "_right", m, rank * cols, name + "_right", {m, rank, cols});
  }

  void lora(const std::string& path, const adapter_decoration& d) {
    const auto [out, in] = sizes(path);
    const index_t r = size_of(d, "rank", 1);
    const std::string theirs = dense(path) + "loras." + adapter_ + ".";
    add_matrix(path + ".lora.a", r, in, theirs + "lora_A");
    add_matrix(path + ".lora.b", out, r, theirs + "lora_B");
    if (chosen(d, "gating", "true"))
      add_linear(path + ".lora.gate", 1, in, theirs + "gate");
  }

  // One matrix has the prefixes of all layers, so they wait until it is known how many there are.
  void prefix(const std::string& path, const adapter_decoration& d) {
    prefixes_.emplace_back(path, &d);
    const bool two = chosen(d, "gate", "two", "none");
    if (two || chosen(d, "gate", "one", "none"))
      add_linear(path + ".prefix.gate", two ? 2 : 1, c_.width,
                 prefix_module(place_of(path).layer) + "prefix_gates." + adapter_);
  }
  void prefixes() {
    const auto all = static_cast<index_t>(prefixes_.size()), own = 2 * c_.width, total = all * own;
    for (index_t i = 0; i < all; ++i) {
      const auto& [path, d] = prefixes_[static_cast<std::size_t>(i)];
      const index_t tokens = size_of(*d, "tokens", 1), before = i * own;
      const std::string ours = path + ".prefix.";
      if (chosen(*d, "encoder", "none", "none")) {
        const std::vector<index_t> shape{tokens * total};
        pooled({ours + "keys", tokens, c_.width, "control_trans", shape, before, total});
        pooled(
            {ours + "values", tokens, c_.width, "control_trans", shape, before + c_.width, total});
        continue;
      }
      const index_t hidden = size_of(*d, "hidden", 1);
      if (i == 0) {
        pooled(
            {"prefix.embedding", tokens, c_.width, "wte.weight", {tokens, c_.width}, 0, c_.width});
        pooled({"prefix.down.weight",
                hidden,
                c_.width,
                "control_trans.0.weight",
                {hidden, c_.width},
                0,
                c_.width});
        pooled({"prefix.down.bias", 1, hidden, "control_trans.0.bias", {hidden}, 0, hidden});
      }
      pooled({ours + "up.weight",
              own,
              hidden,
              "control_trans.2.weight",
              {total, hidden},
              before * hidden,
              hidden});
      pooled({ours + "up.bias", 1, own, "control_trans.2.bias", {total}, before, own});
    }
  }
  // Every attention has the pool of prefixes for a part.
  void pooled(adapterhub_tensor t) {
    const bool distilbert = c_.family == bert_family::distilbert;
    const std::string own =
        "prefix_tunings." + adapter_ + (distilbert ? ".self." : ".self_prefix.") + t.name;
    t.name = base_ + "prefix_tuning." + own;
    for (index_t n = 0; n < c_.layers; ++n)
      t.twins.push_back(prefix_module(n) + "pool." + own);
    to_.push_back(std::move(t));
  }

  const bert_config& c_;
  std::string base_, adapter_;
  std::vector<adapterhub_tensor>& to_;
  std::vector<std::pair<std::string, const adapter_decoration*>> prefixes_;
};

}  // namespace detail

// The tensors of an adapter of that name with these decorations. Throws input_error for methods and
// places that AdapterHub does not have.
GRAFT_PLAIN std::vector<adapterhub_tensor> adapterhub_tensors(const adapter_decorations& decorations,
                                                              const bert_config& c,
                                                              const std::string& adapter);

}  // namespace graft

#if GRAFT_BODIES

namespace graft {

namespace detail {

GRAFT_PLAIN bool chosen(const adapter_decoration& d, std::string_view option, std::string_view choice,
                        std::string_view fallback) {
  const auto found = d.form.find(option);
  return (found == d.form.end() ? fallback : std::string_view(found->second)) == choice;
}

GRAFT_PLAIN index_t size_of(const adapter_decoration& d, const char* number, int least) {
  const auto n = d.numbers.count(number, least);
  if (!n)
    throw input_error(std::string(number) + ": expected a number, found none");
  return *n;
}

GRAFT_PLAIN place_in_layer place_of(const std::string& path) {
  const auto layer = layer_of(path);
  const std::size_t end = path.find('.', std::string_view("layer.").size());
  if (!layer || end == std::string::npos)
    throw input_error(path + ": expected a place in a layer, found another");
  return {*layer, path.substr(end + 1)};
}

GRAFT_PLAIN std::string path_of_member(const std::string& path, char letter) {
  constexpr std::string_view adapter = ".adapter";
  const std::size_t at = path.find(adapter) + adapter.size();
  return path.substr(0, at) + "." + letter + path.substr(at);
}

}  // namespace detail

GRAFT_PLAIN std::vector<adapterhub_tensor> adapterhub_tensors(const adapter_decorations& decorations,
                                                              const bert_config& c,
                                                              const std::string& adapter) {
  std::vector<adapterhub_tensor> tensors;
  detail::adapterhub_lister lister(c, adapter, tensors);
  // By the layers' numbers, which the map's order of texts is not.
  std::map<std::pair<index_t, std::string>, const adapter_decorations::mapped_type*> places;
  for (const auto& [path, methods] : decorations)
    places[{path.starts_with("layer.") ? detail::place_of(path).layer : -1, path}] = &methods;
  for (const auto& [place, methods] : places)
    for (const auto& [method, decoration] : *methods)
      lister.list(place.second, method, decoration);
  lister.finish();
  return tensors;
}

}  // namespace graft

#endif
