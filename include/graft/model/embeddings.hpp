// SPDX-License-Identifier: MIT
// The embeddings of a BERT-like encoder.
#pragma once

#include <graft/core/error.hpp>
#include <graft/layer/dropout.hpp>
#include <graft/layer/embedding.hpp>
#include <graft/layer/layer_norm.hpp>
#include <graft/model/tokens.hpp>
#include <graft/tuning/occupant.hpp>

#include <cstdint>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace graft {

// x = drop(N(word[id] + position[p] + token_type[t])); the last table may be absent.
//
// Keeps what the tables and the norm keep. A word table that lengthens the batch (tuning/prompt.hpp) has
// its rows counted as tokens of type 0, and the positions of every sequence begin anew before them.
// Throws input_error for a sequence with more tokens than there are positions.
template <backend Backend, class Scope>
struct embeddings {
  using backend_type = Backend;
  using B = backend_type;
  using tensor = typename B::tensor;
  using word_type = leaf<Scope, at::word_t, embedding<B>>;
  using position_type = leaf<Scope, at::position_t, embedding<B>>;
  using token_type_type = leaf<Scope, at::token_type_t, embedding<B>>;
  using norm_type = leaf<Scope, at::embedding_norm_t, layer_norm<B>>;

  word_type word;
  position_type position;
  token_type_type token_type;
  norm_type norm;
  dropout<B> drop;

  embeddings() = default;
  template <class Config>
  explicit embeddings(const Config& c)
      : word(make_leaf<Scope, at::word_t>(embedding<B>(c.vocabulary, c.width))),
        position(make_leaf<Scope, at::position_t>(embedding<B>(c.positions, c.width))),
        token_type(make_leaf<Scope, at::token_type_t>(
            embedding<B>(c.token_types, c.token_types > 0 ? c.width : 0))),
        norm(make_leaf<Scope, at::embedding_norm_t>(layer_norm<B>(c.width, c.epsilon))) {
    drop.rate = c.hidden_dropout;
  }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::word, z.word...);
    f(at::position, z.position...);
    f(at::token_type, z.token_type...);
    f(at::embedding_norm, z.norm...);
  }

  struct mirror {
    gradient_t<word_type> word;
    gradient_t<position_type> position;
    gradient_t<token_type_type> token_type;
    gradient_t<norm_type> norm;
  };
  static constexpr bool any_table =
      trainable<word_type> || trainable<position_type> || trainable<token_type_type>;
  using gradient = std::conditional_t<any_table || trainable<norm_type>, mirror, nothing>;

  template <demand D>
  static constexpr demand of_table{false, D.params};  // ids have no gradient
  template <demand D>
  static constexpr demand of_norm{any_table && D.trains(), D.params};
  // Positions and types of a lengthened batch.
  struct longer_batch {
    std::vector<std::int32_t> positions, types;
  };
  template <demand D>
  struct cache {
    std::conditional_t<lengthens<word_type>, longer_batch, nothing> longer;
    cache_t<word_type, of_table<D>> word;
    cache_t<position_type, of_table<D>> position;
    cache_t<token_type_type, of_table<D>> token_type;
    cache_t<norm_type, of_norm<D>> norm;
  };

  index_t virtual_rows() const requires lengthens<word_type> { return word.virtual_rows(); }
  template <class Cache>
  static const layout& rows(const Cache& c) {
    return word_type::rows(c.word);
  }
  // Positions for tokens.
  index_t room() const {
    if constexpr (lengthens<word_type>)
      return position.entries() - word.virtual_rows();
    else
      return position.entries();
  }

  template <demand D>
  tensor forward(const token_batch& batch, cache<D>& c, const context<B>& k) const {
    tensor x = word.template forward<of_table<D>>(ids(batch.ids), c.word, k);
    const layout& rows = rows_after(word, c.word, batch.rows);
    ids positions = batch.positions, types = batch.types;
    if constexpr (lengthens<word_type>) {
      number(batch, rows, c.longer);
      positions = c.longer.positions;
      types = c.longer.types;
    }
    expect_room(positions, rows);
    const context<B> longer = k.with(rows);
    B::add(x, position.template forward<of_table<D>>(positions, c.position, longer));
    if (token_type.entries() > 0)
      B::add(x, token_type.template forward<of_table<D>>(types, c.token_type, longer));
    return drop.apply(norm.template forward<of_norm<D>>(x, c.norm, longer), longer);
  }

  template <demand D, class G>
  nothing backward(tensor dy, cache<D>& c, G* g, const context<B>& k) const {
    if constexpr (of_norm<D>.input || (trainable<norm_type> && D.trains())) {
      const context<B> longer = k.with(rows_after(word, c.word, k.batch));
      dy = drop.apply(std::move(dy), longer);
      auto dx = norm.template backward<of_norm<D>>(std::move(dy), c.norm, part<D>(g, &mirror::norm),
                                                   longer);
      if constexpr (any_table && D.trains()) {
        word.template backward<of_table<D>>(dx, c.word, part<D>(g, &mirror::word), k);
        position.template backward<of_table<D>>(dx, c.position, part<D>(g, &mirror::position),
                                                longer);
        if (token_type.entries() > 0)
          token_type.template backward<of_table<D>>(dx, c.token_type,
                                                    part<D>(g, &mirror::token_type), longer);
      }
    }
    return {};
  }

  void placed(std::uint32_t place) { drop.place = place; }

 private:
  using ids = std::span<const std::int32_t>;

  void expect_room(ids positions, const layout& rows) const {
    for (index_t s = 0; s < rows.sequences(); ++s) {
      if (rows.length(s) == 0)
        continue;
      const auto last = positions[static_cast<std::size_t>(rows.first(s + 1)) - 1];
      if (last < position.entries())
        continue;
      std::string tokens = std::to_string(rows.length(s)) + " tokens";
      if constexpr (lengthens<word_type>)
        tokens += ", of which " + std::to_string(word.virtual_rows()) + " are virtual";
      throw input_error("embeddings: expected positions below " +
                        std::to_string(position.entries()) + ", found " + std::to_string(last) +
                        " in a sequence of " + tokens);
    }
  }

  static void number(const token_batch& batch, const layout& rows, longer_batch& out) {
    const std::int32_t first = batch.positions.empty() ? 0 : batch.positions.front();
    out.positions.clear();
    out.types.clear();
    for (index_t s = 0; s < rows.sequences(); ++s) {
      for (index_t t = 0; t < rows.length(s); ++t)
        out.positions.push_back(first + static_cast<std::int32_t>(t));
      out.types.resize(out.types.size() +
                       static_cast<std::size_t>(rows.length(s) - batch.rows.length(s)));
      const auto types = batch.types.begin();
      out.types.insert(out.types.end(), types + batch.rows.first(s), types + batch.rows.first(s + 1));
    }
  }
};

}  // namespace graft
