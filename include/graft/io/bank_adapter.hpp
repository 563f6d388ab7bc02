// SPDX-License-Identifier: MIT
// One adapter as a bank (io/adapter_bank.hpp) holds it: checked against the base, in the numbers
// that the base computes with, never changed.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/part_list.hpp>
#include <graft/core/row_updates.hpp>
#include <graft/io/adapter_data.hpp>
#include <graft/io/drawn_values.hpp>
#include <graft/io/dtype.hpp>
#include <graft/io/pretrained.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/model/task_kind.hpp>
#include <graft/tuning/lora_bank.hpp>
#include <graft/tuning/lora_spec.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace graft {

// The base of a bank: every dense map of it may have a low-rank update in any row.
struct bank_tuning {
  static constexpr recipe rules{on(at::linear | at::pooler, lora_bank{})};
};

// s · (x Aᵀ Bᵀ + c) at one place;  A [r, in], B [out, r], c [1, out] or empty.
template <backend B>
struct bank_update {
  std::uint32_t place = 0;
  typename B::parameter a, b, bias;
  typename B::scalar scale = 1;

  row_update<typename B::const_view, typename B::scalar> of_rows(index_t first,
                                                                 index_t rows) const {
    return {first, rows, a, b, bias, scale};
  }
};

// `pooler` and `head` share what they have in common with the base's. `labels` names the head's
// outputs, as far as names are known.
template <backend B, norm_order Order = norm_order::after>
struct bank_adapter {
  using network_type = bert_classifier_network<B, bank_tuning, Order>;

  std::string name;
  task_kind task = task_kind::classification;
  std::vector<std::string> labels;
  std::vector<bank_update<B>> updates;
  typename network_type::pooler_type pooler;
  typename network_type::head_type head;
  const void* bank = nullptr;  // whose it is
};

// What an adapter is put on: a model, the numbers of its places (number_places), and whether it has
// a head of its own.
template <backend B, norm_order Order>
struct bank_base {
  bert_classifier<B, bank_tuning, Order> model;
  std::vector<bank_place> places;
  bool has_head = true;
  std::string fingerprint;  // empty: not known
};

namespace detail {

// Takes an adapter apart, and remembers what was taken and what is wrong.
template <backend B, norm_order Order>
class bank_reader {
 public:
  using adapter = bank_adapter<B, Order>;
  using scalar = typename B::scalar;

  bank_reader(const bank_base<B, Order>& base, const adapter_data& data)
      : base_(base), data_(with_drawn<B>(data, sizes_of(base))) {}

  // Throws checkpoint_error, listing what a bank cannot hold and what does not fit the base.
  adapter read(const std::string& name) {
    if (!data_.base.fingerprint.empty() && !base_.fingerprint.empty() &&
        data_.base.fingerprint != base_.fingerprint)
      throw checkpoint_error(data_.source + ": expected an adapter of the base with fingerprint " +
                             base_.fingerprint + ", found one of " + data_.base.name +
                             " with fingerprint " + data_.base.fingerprint);
    adapter a;
    a.name = name;
    for (const auto& [path, methods] : data_.decorations)
      for (const auto& [method, what] : methods)
        if (method == lora::name)
          add_update(a, path, what);
        else
          wrong_.push_back(path + ": expected lora alone, found " + method);
    put_head(a);
    for (const auto& entry : data_.tensors)
      if (!taken_.contains(entry.first))
        wrong_.push_back(entry.first + ": no place in a bank");
    for (const auto& entry : data_.rows)
      wrong_.push_back(entry.first + ": no place in a bank for some rows of it");
    if (!data_.tasks.empty())
      wrong_.push_back("expected one head, found those of " + std::to_string(data_.tasks.size()) +
                       " tasks");
    if (!wrong_.empty())
      throw checkpoint_error(data_.source + ": " + listed_names(wrong_));
    return a;
  }

 private:
  using parameter = typename B::parameter;

  static std::map<std::string, map_size> sizes_of(const bank_base<B, Order>& base) {
    std::map<std::string, map_size> sizes;
    for (const bank_place& place : base.places)
      sizes[place.path] = {place.in, place.out};
    return sizes;
  }

  // The matrix of a path, or null where the adapter has none or one of another shape. −1: any
  // number.
  const stored_matrix* take(const std::string& path, index_t rows, index_t cols) {
    const auto found = data_.tensors.find(path);
    if (found == data_.tensors.end())
      return nullptr;
    taken_.insert(path);
    const stored_matrix& m = found->second;
    if ((rows >= 0 && m.rows != rows) || (cols >= 0 && m.cols != cols)) {
      const auto text = [](index_t n) { return n < 0 ? std::string("r") : std::to_string(n); };
      wrong_.push_back(path + ": expected [" + text(rows) + ", " + text(cols) + "], found [" +
                       std::to_string(m.rows) + ", " + std::to_string(m.cols) + "]");
      return nullptr;
    }
    if (!is_number(m.type)) {
      wrong_.push_back(path + ": expected F32, F16, BF16 or F64, found " +
                       std::string(name_of(m.type)));
      return nullptr;
    }
    return &m;
  }
  static parameter values(const stored_matrix& m) {
    parameter p(m.rows, m.cols);
    B::from_host(p, values_of<scalar>(m));
    return p;
  }

  void add_update(adapter& a, const std::string& path, const adapter_decoration& what) {
    bank_update<B> u;
    while (u.place < base_.places.size() && base_.places[u.place].path != path)
      ++u.place;
    if (u.place == base_.places.size() || base_.places[u.place].out == 0) {
      wrong_.push_back(path + ": a bank has no place for lora there");
      return;
    }
    lora_scaling scaling = lora_scaling::over_rank;
    for (const auto& [key, value] : what.form) {
      if (key == "gating" && value != "false")
        wrong_.push_back(path + ": lora.gating: expected false, found " + value);
      if (key == "scaling" && value == name_of(lora_scaling::over_root))
        scaling = lora_scaling::over_root;
    }
    std::optional<int> rank;
    try {
      rank = what.numbers.count("rank", 0);
      scaling = scaling_from(what.numbers, scaling);
    } catch (const input_error& e) {
      wrong_.push_back(path + ": lora." + text_of(e));
    }
    if (rank == 0)
      return;
    const bank_place& place = base_.places[u.place];
    const std::string lora_path = path + "." + std::string(lora::name);
    const stored_matrix* a_values = take(lora_path + ".a", rank.value_or(-1), place.in);
    const index_t r = a_values ? a_values->rows : rank.value_or(-1);
    const stored_matrix* b_values = take(lora_path + ".b", place.out, r);
    const stored_matrix* bias = take(lora_path + ".bias", 1, place.out);
    const auto alpha = what.numbers.find("alpha");
    for (const char* end : {".a", ".b"})
      if (!data_.tensors.contains(lora_path + end))
        wrong_.push_back(lora_path + end + ": expected, found none");
    if (!alpha)
      wrong_.push_back(path + ": lora.alpha: expected, found none");
    if (!a_values || !b_values || !alpha)
      return;
    u.a = values(*a_values);
    u.b = values(*b_values);
    if (bias)
      u.bias = values(*bias);
    u.scale = static_cast<scalar>(factor_of(scaling, *alpha, r));
    a.updates.push_back(std::move(u));
  }

  // The adapter's own head and pooler, the base's where it has none.
  void put_head(adapter& a) {
    const auto& base = base_.model;
    const bool own = has_any("head.");
    a.task = data_.task.value_or(base.config.task);
    const bool same_task = base_.has_head && a.task == base.config.task;
    if (!own && !same_task) {
      wrong_.push_back("head: expected one for " + std::string(name_of(a.task)) +
                       (base_.has_head
                            ? ", since the base's is for " + std::string(name_of(base.config.task))
                            : std::string(", since the base has none")));
      return;
    }
    bert_config config = base.config;
    config.task = a.task;
    index_t outputs = same_task ? base.network.head.out() : 0;
    if (const auto m = data_.tensors.find("head.classifier.weight"); m != data_.tensors.end())
      outputs = m->second.rows;
    typename adapter::network_type parts(config, outputs);
    a.head = std::move(parts.head);
    a.pooler = std::move(parts.pooler);
    a.pooler.dense.place = base.network.pooler.dense.place;
    fill(a.head, "head", same_task ? &base.network.head : nullptr);
    fill(a.pooler, "pooler", &base.network.pooler);
    a.labels = data_.labels.empty() && !own ? base.labels : data_.labels;
    if (!a.labels.empty() && static_cast<index_t>(a.labels.size()) != outputs)
      wrong_.push_back("labels: expected " + std::to_string(outputs) + ", found " +
                       std::to_string(a.labels.size()));
  }
  bool has_any(std::string_view beginning) const {
    const auto first = data_.tensors.lower_bound(std::string(beginning));
    return first != data_.tensors.end() && first->first.starts_with(beginning);
  }
  // Gives every parameter of a part its values: the adapter's, or the base's own.
  template <class Part>
  void fill(Part& part, const std::string& path, const Part* base) {
    const auto parts = list_parts(part);
    const auto of_base = base ? list_parts(*base) : part_list<B>{};
    for (const listed_parameter<B>& p : parts.parameters) {
      const std::string full = joined(path, p.path);
      if (const stored_matrix* m = take(full, p.rows(), p.cols())) {
        *p.weight = values(*m);
        continue;
      }
      const listed_parameter<B>* other = nullptr;
      for (const listed_parameter<B>& q : of_base.parameters)
        if (q.path == p.path && q.rows() == p.rows() && q.cols() == p.cols())
          other = &q;
      if (other)
        *p.weight = *other->weight;
      else if (!taken_.contains(full))
        wrong_.push_back(full + ": expected, found none");
    }
  }

  const bank_base<B, Order>& base_;
  const adapter_data data_;
  std::set<std::string, std::less<>> taken_;
  std::vector<std::string> wrong_;
};

}  // namespace detail

}  // namespace graft
