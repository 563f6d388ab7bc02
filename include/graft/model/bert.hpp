// SPDX-License-Identifier: MIT
// BERT-like encoders: BERT, MiniLM, RoBERTa and DistilBERT are one network under several
// configurations, RoBERTa-PreLayerNorm is one whose layers have their norms elsewhere.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/site.hpp>
#include <graft/model/embeddings.hpp>
#include <graft/model/pre_norm_stack.hpp>
#include <graft/model/stack.hpp>
#include <graft/model/task_kind.hpp>
#include <graft/model/transformer_layer.hpp>
#include <graft/tuning/occupant.hpp>

#include <concepts>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace graft {

// Which names a checkpoint gives to the tensors, and which head stands on the encoder.
enum class bert_family : unsigned char { bert, roberta, distilbert, roberta_prelayernorm };

// Where an encoder's layers normalise: after their sub-layers, in the joins (post-LN), or before
// them (pre-LN), and once after the last layer. What backward is asked for follows from it, so it
// is in a model's type.
enum class norm_order : unsigned char { after, before };

constexpr norm_order order_of(bert_family family) {
  return family == bert_family::roberta_prelayernorm ? norm_order::before : norm_order::after;
}
// Has it RoBERTa's positions and head?
constexpr bool like_roberta(bert_family family) {
  return family == bert_family::roberta || family == bert_family::roberta_prelayernorm;
}

// Sizes and numbers of an encoder, as its config.json has them.
struct bert_config : transformer_config {
  bert_family family = bert_family::bert;
  task_kind task = task_kind::classification;  // of the head, where there is one
  index_t vocabulary = 30522;
  index_t positions = 512;
  index_t token_types = 2;
  std::int32_t first_position = 0;  // RoBERTa's positions begin at its padding id + 1
  std::int32_t padding = 0;
  double head_dropout = 0.1;

  // Tokens a sequence may have.
  index_t longest() const { return positions - first_position; }
};

// The sites of an encoder and what stands on it, for every_rule_finds_a_site: `nothing_to_train`
// marks those where nothing can be trained.
using bert_sites =
    selection<at::layer_t, at::attention_t, at::query_t, at::key_t, at::value_t,
              nothing_to_train<at::memory_t>, at::attention_output_t, at::attention_join_t,
              at::attention_norm_t, at::feed_forward_t, at::feed_forward_input_t,
              at::feed_forward_output_t, at::feed_forward_join_t, at::feed_forward_norm_t,
              at::embeddings_t, at::word_t, at::position_t, at::token_type_t,
              at::embedding_norm_t>;

namespace detail {

template <class Sites, norm_order Order>
struct sites_in {
  using type = Sites;
};
template <class... S>
struct sites_in<selection<S...>, norm_order::before> {
  using type =
      selection<std::conditional_t<std::derived_from<S, at::join_t>, nothing_to_train<S>, S>...,
                at::encoder_norm_t>;
};

template <backend B, class Scope, norm_order Order>
struct layers_in {
  using type = stack<B, Scope, transformer_layer>;
};
template <backend B, class Scope>
struct layers_in<B, Scope, norm_order::before> {
  using type = pre_norm_stack<B, Scope>;
};

}  // namespace detail

// The sites of a model with layers of that order, given those of one with post-LN layers.
template <class Sites, norm_order Order>
using sites_in = typename detail::sites_in<Sites, Order>::type;

// y = stack(embeddings(batch)), a row per token, with a norm behind it for norm_order::before; a
// prompt adds rows to every sequence (rows_after says how they then fall). The root of an encoder:
// asked for no input gradient. Throws input_error for a configuration of a family whose layers have
// the other order.
template <backend Backend, tuning T, norm_order Order = norm_order::after>
struct bert {
  using backend_type = Backend;
  using B = backend_type;
  using tensor = typename B::tensor;
  using embeddings_base = graft::embeddings<B, typename scope<T>::template enter<at::embeddings_t>>;
  using embeddings_type = node<scope<T>, at::embeddings_t, embeddings_base>;
  using stack_type = typename detail::layers_in<B, scope<T>, Order>::type;

  embeddings_type embeddings;
  stack_type layers;

  bert() = default;
  explicit bert(const bert_config& c)
      : embeddings(make_node<scope<T>, at::embeddings_t>(embeddings_base(c))), layers(c) {
    if (order_of(c.family) != Order)
      throw input_error(Order == norm_order::after
                            ? "bert: expected a family with norm_order::after, found "
                              "roberta_prelayernorm"
                            : "bert: expected a family with norm_order::before "
                              "(roberta_prelayernorm), found one with norm_order::after");
  }

  // Tokens a sequence may have: virtual ones take their share of the positions.
  index_t longest(const bert_config& c) const { return embeddings.room() - c.first_position; }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::embeddings, z.embeddings...);
    f(at::encoder, z.layers...);
  }

  struct mirror {
    gradient_t<embeddings_type> embeddings;
    gradient_t<stack_type> layers;
  };
  using gradient =
      std::conditional_t<trainable<embeddings_type> || trainable<stack_type>, mirror, nothing>;

  template <demand D>
  static constexpr demand of_layers = D.after(D.trains() && trainable<embeddings_type>);
  template <demand D>
  struct cache {
    cache_t<embeddings_type, D> embeddings;
    cache_t<stack_type, of_layers<D>> layers;
  };

  index_t virtual_rows() const requires lengthens<embeddings_type> {
    return embeddings.virtual_rows();
  }
  template <class Cache>
  static const layout& rows(const Cache& c) {
    return embeddings_type::rows(c.embeddings);
  }

  template <demand D>
  tensor forward(const token_batch& batch, cache<D>& c, const context<B>& k) const {
    tensor x = embeddings.template forward<D>(batch, c.embeddings, k);
    return layers.template forward<of_layers<D>>(
        std::move(x), c.layers, k.with(rows_after(embeddings, c.embeddings, k.batch)));
  }

  // Is nothing trained in the embeddings, and do they add no rows? Then forward falls into two parts: as far
  // as nothing is trained, which gives the same rows for the same tokens wherever no dropout acts, and
  // the rest, after which backward may follow.
  static constexpr bool begins_frozen = !trainable<embeddings_type> && !lengthens<embeddings_type>;
  index_t frozen_layers() const { return layers.frozen_layers(); }
  template <demand D>
  tensor forward_below(const token_batch& batch, cache<D>& c, const context<B>& k) const
    requires begins_frozen
  {
    return layers.template forward_below<of_layers<D>>(
        embeddings.template forward<D>(batch, c.embeddings, k), c.layers, k);
  }
  template <demand D>
  tensor forward_above(tensor x, cache<D>& c, const context<B>& k) const
    requires begins_frozen
  {
    return layers.template forward_above<of_layers<D>>(std::move(x), c.layers, k);
  }
  // … and its first rows, as forward_first.
  template <demand D>
  tensor forward_above_first(tensor x, cache<D>& c, layout& rows, const context<B>& k) const
    requires begins_frozen
  {
    pooled_layout(k.batch, rows);
    return layers.template forward_above_first<of_layers<D>>(std::move(x), c.layers, k, k.with(rows));
  }

  template <demand D, class G>
  nothing backward(tensor dy, cache<D>& c, G* g, const context<B>& k) const {
    if constexpr (reached<stack_type>(of_layers<D>)) {
      auto dx = layers.template backward<of_layers<D>>(
          std::move(dy), c.layers, part<D>(g, &mirror::layers),
          k.with(rows_after(embeddings, c.embeddings, k.batch)));
      if constexpr (of_layers<D>.input)
        embeddings.template backward<D>(std::move(dx), c.embeddings,
                                        part<D>(g, &mirror::embeddings), k);
    }
    return {};
  }

  // The first row of each sequence, a prompt's where there is one: [sequences, width]. `rows` becomes how
  // these fall into sequences, and backward_first is given it.
  template <demand D>
  tensor forward_first(const token_batch& batch, cache<D>& c, layout& rows,
                       const context<B>& k) const {
    tensor x = embeddings.template forward<D>(batch, c.embeddings, k);
    const context<B> all = k.with(rows_after(embeddings, c.embeddings, k.batch));
    pooled_layout(all.batch, rows);
    return layers.template forward_first<of_layers<D>>(std::move(x), c.layers, all, k.with(rows));
  }
  template <demand D, class G>
  nothing backward_first(tensor dy, cache<D>& c, G* g, const layout& rows,
                         const context<B>& k) const {
    if constexpr (reached<stack_type>(of_layers<D>)) {
      auto dx = layers.template backward_first<of_layers<D>>(
          std::move(dy), c.layers, part<D>(g, &mirror::layers),
          k.with(rows_after(embeddings, c.embeddings, k.batch)), k.with(rows));
      if constexpr (of_layers<D>.input)
        embeddings.template backward<D>(std::move(dx), c.embeddings,
                                        part<D>(g, &mirror::embeddings), k);
    }
    return {};
  }
};

}  // namespace graft
