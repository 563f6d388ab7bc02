// SPDX-License-Identifier: MIT
// Sentence vectors: an encoder and the mean of its rows.
#pragma once

#include <graft/model/bert.hpp>
#include <graft/model/to_backend.hpp>

#include <graft/model/model.hpp>

#include <cstdint>
#include <type_traits>
#include <utility>

namespace graft {

// y = mean over each sequence's rows of bert(batch), a prompt's among them; a row per sequence.
template <backend Backend, tuning T, norm_order Order = norm_order::after>
struct sentence_encoder_network {
  static_assert(every_rule_finds_a_site<T, sites_in<bert_sites, Order>>);
  using backend_type = Backend;
  using B = backend_type;
  using tensor = typename B::tensor;
  using input_type = token_batch;
  using bert_type = graft::bert<B, T, Order>;

  bert_type bert;

  sentence_encoder_network() = default;
  explicit sentence_encoder_network(const bert_config& c) : bert(c) {}

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::base, z.bert...);
  }

  struct mirror {
    gradient_t<bert_type> bert;
  };
  using gradient = std::conditional_t<trainable<bert_type>, mirror, nothing>;

  template <demand D>
  struct cache {
    cache_t<bert_type, D> bert;
    index_t rows = 0;
  };

  template <demand D>
  tensor forward(const token_batch& batch, cache<D>& c, const context<B>& k) const {
    return mean_of<D>(bert.template forward<D>(batch, c.bert, k), batch, c, k);
  }
  // forward in two parts, as bert has it.
  static constexpr bool begins_frozen = bert_type::begins_frozen;
  index_t frozen_layers() const { return bert.frozen_layers(); }
  // Rows that forward_below makes of a batch.
  index_t frozen_rows(const layout& batch) const { return batch.rows(); }
  template <demand D>
  tensor forward_below(const token_batch& batch, cache<D>& c, const context<B>& k) const
    requires begins_frozen
  {
    return bert.template forward_below<D>(batch, c.bert, k);
  }
  template <demand D>
  tensor forward_above(tensor h, const token_batch& batch, cache<D>& c, const context<B>& k) const
    requires begins_frozen
  {
    return mean_of<D>(bert.template forward_above<D>(std::move(h), c.bert, k), batch, c, k);
  }

  template <demand D, class G>
  nothing backward(tensor dy, cache<D>& c, G* g, const context<B>& k) const {
    if constexpr (reached<bert_type>(D)) {
      tensor dh = k.make(c.rows, dy.cols);
      B::pool_mean_backward(dh, dy, rows_after(bert, c.bert, k.batch));
      bert.template backward<D>(std::move(dh), c.bert, part<D>(g, &mirror::bert), k);
    }
    return {};
  }

 private:
  template <demand D>
  tensor mean_of(tensor h, const token_batch& batch, cache<D>& c, const context<B>& k) const {
    c.rows = h.rows;
    tensor y = k.make(batch.rows.sequences(), h.cols);
    B::pool_mean(y, h, rows_after(bert, c.bert, batch.rows));
    return y;
  }
};

template <backend B, tuning T = untuned, norm_order Order = norm_order::after>
struct sentence_encoder : model<sentence_encoder_network<B, T, Order>> {
  using base = model<sentence_encoder_network<B, T, Order>>;
  using tuning_type = T;

  bert_config config;

  sentence_encoder() = default;
  explicit sentence_encoder(const bert_config& c, std::uint64_t seed = 0,
                            const decoration_numbers& numbers = {},
                            base_values values = base_values::fresh)
      : base(sentence_encoder_network<B, T, Order>(c), seed, numbers, values), config(c) {}

  // The same under another tuning, without the values of the base.
  template <tuning To>
  sentence_encoder<B, To, Order> under(std::uint64_t seed, const decoration_numbers& numbers = {}) const {
    return sentence_encoder<B, To, Order>(config, seed, numbers, base_values::from_checkpoint);
  }

  // The same over another backend (model/to_backend.hpp).
  template <backend To>
  sentence_encoder<To, T, Order> to() const {
    sentence_encoder<To, T, Order> copy(config, this->initial_seed, {}, base_values::from_checkpoint);
    detail::become(copy, *this);
    return copy;
  }

  sentence_encoder clone() const {
    sentence_encoder copy;
    base::clone_into(copy);
    copy.config = config;
    return copy;
  }

  // Vectors of length 1, a row per sequence, as sentence-transformers gives them.
  typename B::tensor encode(const token_batch& batch, const context<B>& k) const {
    auto y = base::predict(batch, k);
    B::normalize_rows(y, y);
    return y;
  }
};

}  // namespace graft
