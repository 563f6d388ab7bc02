// SPDX-License-Identifier: MIT
// Masked-language modelling: which token stands at a masked place?
#pragma once

#include <graft/core/error.hpp>
#include <graft/layer/activation.hpp>
#include <graft/layer/initial.hpp>
#include <graft/layer/layer_norm.hpp>
#include <graft/layer/linear.hpp>
#include <graft/model/bert.hpp>
#include <graft/model/to_backend.hpp>

#include <graft/model/heads.hpp>
#include <graft/model/model.hpp>

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace graft {

namespace at {
struct mlm_t : everything_t {
  static constexpr std::string_view label = "mlm";
  static constexpr std::string_view name = "mlm";
};
struct mlm_dense_t : everything_t {
  static constexpr std::string_view label = "mlm_dense";
  static constexpr std::string_view name = "dense";
};
struct mlm_decoder_t : everything_t {
  static constexpr std::string_view label = "mlm_decoder";
  static constexpr std::string_view name = "decoder";
};
inline constexpr mlm_t mlm{};
inline constexpr mlm_dense_t mlm_dense{};
inline constexpr mlm_decoder_t mlm_decoder{};
}  // namespace at

using masked_language_sites =
    decltype(bert_sites{} | at::mlm | at::mlm_dense | at::head_norm | at::mlm_decoder);

// A batch and the rows of it whose token is asked for.
struct masked_batch : token_batch {
  std::vector<std::int32_t> places;

  void clear() {
    token_batch::clear();
    places.clear();
  }
};

// y = x + b: the bias of a decoder whose matrix is the word table.
template <backend B, class Weight = typename B::parameter>
struct decoder_bias {
  using backend_type = B;
  using tensor = typename B::tensor;
  using frozen_form = decoder_bias<B, typename B::frozen_weight>;
  static constexpr bool trained = std::is_same_v<Weight, typename B::parameter>;

  Weight bias;

  decoder_bias() = default;
  explicit decoder_bias(index_t entries) : bias(1, entries) {}
  template <class Other>
    requires(!std::is_same_v<Other, Weight>)
  explicit decoder_bias(decoder_bias<B, Other> other) : bias(std::move(other.bias)) {}

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::bias, z.bias...);
  }
  struct mirror {
    typename B::parameter bias;
  };
  using gradient = std::conditional_t<trained, mirror, nothing>;
  using bias_gradient = mirror;
  template <demand D>
  struct cache {};

  template <demand D>
  tensor forward(const tensor& x, cache<D>&, const context<B>& k) const {
    tensor y = k.copy(x);
    for (index_t i = 0; i < y.rows; ++i)
      B::add(typename B::view(y).rows_of(i, 1), bias);
    return y;
  }
  template <demand D, class G>
  auto backward(tensor dy, const cache<D>&, [[maybe_unused]] G* g, const context<B>&) const {
    if constexpr (trained && D.trains())
      B::sum_rows(g->bias, dy);
    if constexpr (D.input)
      return dy;
    else
      return nothing{};
  }

  // b = 0.
  void initialize_base(random_stream&) {
    set_values<B>(bias, [] { return 0; });
  }
};

// logits [places, vocabulary] = N(f(H h)) Wᵀ + b, h the rows of bert(batch) at the masked places
// and W the word table of the embeddings. Throws input_error for a place outside the batch. Devlin
// et al. 2019, arXiv:1810.04805.
template <backend Backend, tuning T, norm_order Order = norm_order::after>
struct masked_language_network {
  static_assert(every_rule_finds_a_site<T, sites_in<masked_language_sites, Order>>);
  using backend_type = Backend;
  using B = backend_type;
  using tensor = typename B::tensor;
  using input_type = masked_batch;
  using around = typename scope<T>::template enter<at::mlm_t>;
  using bert_type = graft::bert<B, T, Order>;
  using dense_type = dense_activation<leaf<around, at::mlm_dense_t, linear<B>>>;
  using norm_type = leaf<around, at::head_norm_t, layer_norm<B>>;
  using decoder_type = leaf<around, at::mlm_decoder_t, decoder_bias<B>>;

  struct head {
    dense_type dense;
    norm_type norm;
    decoder_type decoder;

    struct mirror {
      gradient_t<dense_type> dense;
      gradient_t<norm_type> norm;
      gradient_t<decoder_type> decoder;
    };
    using gradient = std::conditional_t<trainable<dense_type> || trainable<norm_type> ||
                                            trainable<decoder_type>,
                                        mirror, nothing>;
    template <class F, class... Z>
    static void parts(F&& f, Z&&... z) {
      f(at::mlm_dense, z.dense...);
      f(at::head_norm, z.norm...);
      f(at::mlm_decoder, z.decoder...);
    }
  };

  bert_type bert;
  head mlm;

  masked_language_network() = default;
  explicit masked_language_network(const bert_config& c)
      : bert(c),
        mlm{{make_leaf<around, at::mlm_dense_t>(linear<B>(c.width, c.width)), {c.activation}},
            make_leaf<around, at::head_norm_t>(layer_norm<B>(c.width, c.epsilon)),
            make_leaf<around, at::mlm_decoder_t>(decoder_bias<B>(c.vocabulary))} {}

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::base, z.bert...);
    f(at::mlm, z.mlm...);
  }

  struct mirror {
    gradient_t<bert_type> bert;
    gradient_t<head> mlm;
  };
  using gradient =
      std::conditional_t<trainable<bert_type> || trainable<head>, mirror, nothing>;

  using table_type = std::remove_cvref_t<
      decltype(detail::table_in(std::declval<typename bert_type::embeddings_type&>()))>;
  template <demand D>
  static constexpr bool trains_words =
      std::is_same_v<table_type, typename B::parameter> && D.params == params::all;

  // From below: bert, dense, norm, the product with the word table, the bias.
  template <demand D>
  static constexpr demand of_dense = D.after(reached<bert_type>(D));
  template <demand D>
  static constexpr demand of_norm = D.after(reached<dense_type>(of_dense<D>));
  template <demand D>
  static constexpr demand of_decoder = D.after(reached<norm_type>(of_norm<D>) || trains_words<D>);
  template <demand D>
  struct cache {
    cache_t<bert_type, D> bert;
    cache_t<dense_type, of_dense<D>> dense;
    cache_t<norm_type, of_norm<D>> norm;
    cache_t<decoder_type, of_decoder<D>> decoder;
    tensor h;  // what meets the word table
    layout places;
    std::vector<std::int32_t> rows;
    index_t tokens = 0;
  };

  template <demand D>
  tensor forward(const masked_batch& batch, cache<D>& c, const context<B>& k) const {
    using ids = std::span<const std::int32_t>;
    for (std::int32_t row : batch.places)
      if (row < 0 || row >= batch.rows.rows())
        throw input_error("masked places: expected rows below " +
                          std::to_string(batch.rows.rows()) + ", found " +
                          std::to_string(row));
    tensor x = bert.template forward<D>(batch, c.bert, k);
    c.tokens = x.rows;
    c.rows = batch.places;
    const layout& rows = rows_after(bert, c.bert, batch.rows);
    if constexpr (lengthens<bert_type>)
      shift(c.rows, batch.rows, bert.virtual_rows());
    c.places.clear();
    for (std::int32_t row : c.rows) {
      c.places.append(1, 0);
      c.places.names.back() = rows.names[static_cast<std::size_t>(row)];
    }
    const context<B> at_places = k.with(c.places);
    tensor m = k.make(static_cast<index_t>(c.rows.size()), x.cols);
    B::gather(m, x, ids(c.rows), false);
    x = {};
    tensor h = mlm.norm.template forward<of_norm<D>>(
        mlm.dense.template forward<of_dense<D>>(m, c.dense, at_places), c.norm, at_places);
    const auto& words = detail::table_in(bert.embeddings);
    tensor y = k.make(h.rows, words.rows);
    B::product_nt(y, h, words, 1, false);
    if constexpr (trains_words<D>)
      c.h = std::move(h);
    return mlm.decoder.template forward<of_decoder<D>>(y, c.decoder, at_places);
  }

  template <demand D, class G>
  nothing backward(tensor dy, cache<D>& c, G* g, const context<B>& k) const {
    using ids = std::span<const std::int32_t>;
    if constexpr (reached<decoder_type>(of_decoder<D>)) {
      const context<B> at_places = k.with(c.places);
      const auto head_gradient = part<D>(g, &mirror::mlm);
      auto dz = mlm.decoder.template backward<of_decoder<D>>(
          std::move(dy), c.decoder, part<D>(head_gradient, &head::mirror::decoder), at_places);
      if constexpr (trains_words<D>)
        B::product_tn(detail::table_in(g->bert.embeddings), dz, c.h, 1, true);
      if constexpr (reached<norm_type>(of_norm<D>)) {
        const auto& words = detail::table_in(bert.embeddings);
        tensor dh = k.make(dz.rows, words.cols);
        B::product_nn(dh, dz, words, 1, false);
        auto dn = mlm.norm.template backward<of_norm<D>>(
            std::move(dh), c.norm, part<D>(head_gradient, &head::mirror::norm), at_places);
        if constexpr (of_norm<D>.input) {
          auto dm = mlm.dense.template backward<of_dense<D>>(
              std::move(dn), c.dense, part<D>(head_gradient, &head::mirror::dense), at_places);
          if constexpr (of_dense<D>.input) {
            tensor dx = k.make(c.tokens, dm.cols);
            B::fill(dx, 0);
            B::scatter_add(dx, dm, ids(c.rows));
            bert.template backward<D>(std::move(dx), c.bert, part<D>(g, &mirror::bert), k);
          }
        }
      }
    }
    return {};
  }

 private:
  // Rows of a batch -> the same rows once `more` stand in front of every sequence.
  static void shift(std::vector<std::int32_t>& places, const layout& rows, index_t more) {
    for (std::int32_t& row : places) {
      const auto after = std::upper_bound(rows.offsets.begin(), rows.offsets.end(), index_t{row});
      row += static_cast<std::int32_t>((after - rows.offsets.begin()) * more);
    }
  }
};

template <backend B, tuning T, norm_order Order = norm_order::after>
struct masked_language_model : model<masked_language_network<B, T, Order>> {
  using base = model<masked_language_network<B, T, Order>>;
  using tuning_type = T;

  bert_config config;

  masked_language_model() = default;
  explicit masked_language_model(const bert_config& c, std::uint64_t seed = 0,
                                 const decoration_numbers& numbers = {},
                                 base_values values = base_values::fresh)
      : base(masked_language_network<B, T, Order>(c), seed, numbers, values), config(c) {}

  // The same under another tuning, without the values of the base.
  template <tuning To>
  masked_language_model<B, To, Order> under(std::uint64_t seed, const decoration_numbers& numbers = {}) const {
    return masked_language_model<B, To, Order>(config, seed, numbers, base_values::from_checkpoint);
  }

  // The same over another backend (model/to_backend.hpp).
  template <backend To>
  masked_language_model<To, T, Order> to() const {
    masked_language_model<To, T, Order> copy(config, this->initial_seed, {}, base_values::from_checkpoint);
    detail::become(copy, *this);
    return copy;
  }

  masked_language_model clone() const {
    masked_language_model copy;
    base::clone_into(copy);
    copy.config = config;
    return copy;
  }
};

}  // namespace graft
