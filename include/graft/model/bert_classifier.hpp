// SPDX-License-Identifier: MIT
// A BERT-like encoder with a head on it: classes or a number for each sequence, or for each token.
#pragma once

#include <graft/core/store.hpp>
#include <graft/model/bert.hpp>
#include <graft/model/to_backend.hpp>

#include <graft/model/heads.hpp>
#include <graft/model/model.hpp>

#include <cstdint>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace graft {

using bert_classifier_sites =
    decltype(bert_sites{} | at::pooler | at::head | at::head_dense | at::classifier);

// logits = head(pooler(first row of each sequence of bert(batch))), a row per sequence. The first
// row is the prompt's where there is one, as with PEFT. BERT has a pooler (a map and tanh, at
// at::pooler); the others go straight to the head. The last layer makes no other rows where it can do
// without (core/first_rows.hpp). For tasks that are asked of every token, logits = head(bert(batch)), a
// row for each token of the batch, none for a prompt's. `labels` is what the head takes: the number of
// classes, or one for each task.
template <backend Backend, tuning T, norm_order Order = norm_order::after,
          template <backend, class> class Head = classification_head>
struct bert_classifier_network {
  static_assert(every_rule_finds_a_site<T, sites_in<bert_classifier_sites, Order>>);
  using backend_type = Backend;
  using B = backend_type;
  using tensor = typename B::tensor;
  using input_type = token_batch;
  using bert_type = graft::bert<B, T, Order>;
  using pooler_type = dense_activation<leaf<scope<T>, at::pooler_t, linear<B>>>;
  using head_base = Head<B, typename scope<T>::template enter<at::head_t>>;
  using head_type = node<scope<T>, at::head_t, head_base>;

  bert_type bert;
  pooler_type pooler;
  head_type head;
  bool every_token = false;

  bert_classifier_network() = default;
  template <class Labels>
  bert_classifier_network(const bert_config& c, const Labels& labels)
      : bert(c),
        pooler{make_leaf<scope<T>, at::pooler_t>(
                   c.family == bert_family::bert && !per_token(c.task) ? linear<B>(c.width, c.width)
                                                                       : linear<B>(0, 0, false)),
               {activation::tanh}},
        head(make_node<scope<T>, at::head_t>(head_base(c, labels))),
        every_token(per_token(c.task)) {}

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::base, z.bert...);
    f(at::pooler, z.pooler...);
    f(at::head, z.head...);
  }

  struct mirror {
    gradient_t<bert_type> bert;
    gradient_t<pooler_type> pooler;
    gradient_t<head_type> head;
  };
  using gradient =
      std::conditional_t<trainable<bert_type> || trainable<pooler_type> || trainable<head_type>,
                         mirror, nothing>;

  template <demand D>
  static constexpr demand of_pooler = D.after(reached<bert_type>(D));
  template <demand D>
  static constexpr demand of_head = D.after(reached<pooler_type>(of_pooler<D>));
  template <demand D>
  struct cache {
    cache_t<bert_type, D> bert;
    cache_t<pooler_type, of_pooler<D>> pooler;
    cache_t<head_type, of_head<D>> head;
    layout pooled;  // one row per sequence
    index_t rows = 0;
    std::vector<std::int32_t> own;  // the rows that are no prompt's
  };

  template <demand D>
  tensor forward(const token_batch& batch, cache<D>& c, const context<B>& k) const {
    if (every_token) {
      tensor h = bert.template forward<D>(batch, c.bert, k);
      c.rows = h.rows;
      return head.template forward<of_head<D>>(own_rows(std::move(h), batch.rows, c.own, k), c.head,
                                               k);
    }
    return on_first<D>(bert.template forward_first<D>(batch, c.bert, c.pooled, k), c, k);
  }

  // forward in two parts, as bert has it: up to a row per sequence where the head alone is trained and
  // asked of sequences.
  static constexpr bool begins_frozen = bert_type::begins_frozen;
  index_t frozen_layers() const { return bert.frozen_layers(); }
  // Rows that forward_below makes of a batch.
  index_t frozen_rows(const layout& batch) const {
    return trainable<bert_type> || every_token ? batch.rows() : batch.sequences();
  }
  template <demand D>
  tensor forward_below(const token_batch& batch, cache<D>& c, const context<B>& k) const
    requires begins_frozen
  {
    if constexpr (trainable<bert_type>)
      return bert.template forward_below<D>(batch, c.bert, k);
    else if (every_token)
      return bert.template forward<D>(batch, c.bert, k);
    else
      return bert.template forward_first<D>(batch, c.bert, c.pooled, k);
  }
  template <demand D>
  tensor forward_above(tensor h, const token_batch& batch, cache<D>& c, const context<B>& k) const
    requires begins_frozen
  {
    if (every_token) {
      c.rows = batch.rows.rows();
      if constexpr (trainable<bert_type>)
        h = bert.template forward_above<D>(std::move(h), c.bert, k);
      return head.template forward<of_head<D>>(h, c.head, k);
    }
    if constexpr (trainable<bert_type>)
      h = bert.template forward_above_first<D>(std::move(h), c.bert, c.pooled, k);
    else
      pooled_layout(batch.rows, c.pooled);
    return on_first<D>(h, c, k);
  }

  template <demand D, class G>
  nothing backward(tensor dy, cache<D>& c, G* g, const context<B>& k) const {
    if constexpr (reached<head_type>(of_head<D>)) {
      const context<B> sequences = every_token ? k : k.with(c.pooled);
      auto dp = head.template backward<of_head<D>>(std::move(dy), c.head, part<D>(g, &mirror::head),
                                                   sequences);
      if constexpr (of_head<D>.input) {
        if (every_token) {
          if constexpr (reached<bert_type>(D))
            bert.template backward<D>(among_all(std::move(dp), c.rows, c.own, k), c.bert,
                                      part<D>(g, &mirror::bert), k);
          return {};
        }
        auto df = pooler.template backward<of_pooler<D>>(std::move(dp), c.pooler,
                                                         part<D>(g, &mirror::pooler), sequences);
        if constexpr (of_pooler<D>.input)
          bert.template backward_first<D>(std::move(df), c.bert, part<D>(g, &mirror::bert), c.pooled,
                                          k);
      }
    }
    return {};
  }

 private:
  // Given the first row of each sequence.
  template <demand D>
  tensor on_first(const tensor& first, cache<D>& c, const context<B>& k) const {
    const context<B> sequences = k.with(c.pooled);
    tensor p = pooler.template forward<of_pooler<D>>(first, c.pooler, sequences);
    return head.template forward<of_head<D>>(p, c.head, sequences);
  }
  // Without the rows that a prompt stands in. `own` keeps which are left.
  tensor own_rows(tensor h, [[maybe_unused]] const layout& batch,
                  [[maybe_unused]] std::vector<std::int32_t>& own,
                  [[maybe_unused]] const context<B>& k) const {
    if constexpr (!lengthens<bert_type>) {
      return h;
    } else {
      const auto more = static_cast<std::int32_t>(bert.virtual_rows());
      own.clear();
      for (index_t s = 0; s < batch.sequences(); ++s)
        for (index_t i = batch.first(s); i < batch.first(s + 1); ++i)
          own.push_back(static_cast<std::int32_t>(i) +
                        (static_cast<std::int32_t>(s) + 1) * more);
      tensor y = k.make(batch.rows(), h.cols);
      B::gather(y, h, std::span<const std::int32_t>(own), false);
      return y;
    }
  }
  // … and back, 0 in a prompt's.
  static tensor among_all(tensor dy, [[maybe_unused]] index_t rows,
                          [[maybe_unused]] const std::vector<std::int32_t>& own,
                          [[maybe_unused]] const context<B>& k) {
    if constexpr (!lengthens<bert_type>) {
      return dy;
    } else {
      tensor dh = k.make(rows, dy.cols);
      B::fill(dh, 0);
      B::scatter_add(dh, dy, std::span<const std::int32_t>(own));
      return dh;
    }
  }
};

struct load_options;

// A model that owns its parameters; config.task is what it is asked: a classifier, unless it says
// otherwise. `labels` names the head's outputs. `load` is defined in io/pretrained.hpp.
template <backend B, tuning T = untuned, norm_order Order = norm_order::after>
struct bert_classifier : model<bert_classifier_network<B, T, Order>> {
  using base = model<bert_classifier_network<B, T, Order>>;
  using tuning_type = T;

  bert_config config;
  std::vector<std::string> labels;

  bert_classifier() = default;
  // Freshly initialised from `seed`.
  bert_classifier(const bert_config& c, std::vector<std::string> names, std::uint64_t seed = 0,
                  const decoration_numbers& numbers = {}, base_values values = base_values::fresh)
      : base(bert_classifier_network<B, T, Order>(c, static_cast<index_t>(names.size())), seed,
             numbers, values),
        config(c),
        labels(std::move(names)) {}

  // The same under another tuning, without the values of the base.
  template <tuning To>
  bert_classifier<B, To, Order> under(std::uint64_t seed, const decoration_numbers& numbers = {}) const {
    return {config, labels, seed, numbers, base_values::from_checkpoint};
  }

  // The same over another backend (model/to_backend.hpp).
  template <backend To>
  bert_classifier<To, T, Order> to() const {
    bert_classifier<To, T, Order> copy(config, labels, this->initial_seed, {}, base_values::from_checkpoint);
    detail::become(copy, *this);
    return copy;
  }

  bert_classifier clone() const {
    bert_classifier copy;
    base::clone_into(copy);
    copy.config = config;
    copy.labels = labels;
    return copy;
  }

  static bert_classifier load(const std::string& folder, const load_options& options);
  static bert_classifier load(const std::string& folder);
};

}  // namespace graft
