// SPDX-License-Identifier: MIT
// A sequence classifier over a BERT-like encoder.
#pragma once

#include <graft/core/store.hpp>
#include <graft/model/bert.hpp>
#include <graft/model/heads.hpp>
#include <graft/model/model.hpp>

#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace graft {

using bert_classifier_sites =
    decltype(bert_sites{} | at::pooler | at::head | at::head_dense | at::classifier);

// logits = head(pooler(first row of each sequence of bert(batch))), a row per sequence. The first
// row is the prompt's where there is one, as with PEFT. BERT has a pooler (a map and tanh, at
// at::pooler); the others go straight to the head. `labels` is what the head takes: the number of
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

  bert_classifier_network() = default;
  template <class Labels>
  bert_classifier_network(const bert_config& c, const Labels& labels)
      : bert(c),
        pooler{make_leaf<scope<T>, at::pooler_t>(c.family == bert_family::bert
                                                     ? linear<B>(c.width, c.width)
                                                     : linear<B>(0, 0, false)),
               {activation::tanh}},
        head(make_node<scope<T>, at::head_t>(head_base(c, labels))) {}

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
  };

  template <demand D>
  tensor forward(const token_batch& batch, cache<D>& c, const context<B>& k) const {
    tensor h = bert.template forward<D>(batch, c.bert, k);
    const layout& rows = rows_after(bert, c.bert, batch.rows);
    pooled_layout(rows, c.pooled);
    c.rows = h.rows;
    const context<B> sequences = k.with(c.pooled);
    tensor first = k.make(rows.sequences(), h.cols);
    B::pool_first(first, h, rows);
    h = {};
    tensor p = pooler.template forward<of_pooler<D>>(first, c.pooler, sequences);
    return head.template forward<of_head<D>>(p, c.head, sequences);
  }

  template <demand D, class G>
  nothing backward(tensor dy, cache<D>& c, G* g, const context<B>& k) const {
    if constexpr (reached<head_type>(of_head<D>)) {
      const context<B> sequences = k.with(c.pooled);
      auto dp = head.template backward<of_head<D>>(std::move(dy), c.head, part<D>(g, &mirror::head),
                                                   sequences);
      if constexpr (of_head<D>.input) {
        auto df = pooler.template backward<of_pooler<D>>(std::move(dp), c.pooler,
                                                         part<D>(g, &mirror::pooler), sequences);
        if constexpr (of_pooler<D>.input) {
          tensor dh = k.make(c.rows, df.cols);
          B::pool_first_backward(dh, df, rows_after(bert, c.bert, k.batch));
          df = {};
          bert.template backward<D>(std::move(dh), c.bert, part<D>(g, &mirror::bert), k);
        }
      }
    }
    return {};
  }
};

struct load_options;

// A classifier that owns its parameters; `load` is defined in io/pretrained.hpp.
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
