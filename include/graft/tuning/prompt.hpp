// SPDX-License-Identifier: MIT
// Prompt tuning and P-tuning: virtual tokens in front of every sequence.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/layer.hpp>
#include <graft/core/numbers.hpp>
#include <graft/core/site.hpp>
#include <graft/layer/embedding.hpp>
#include <graft/layer/initial.hpp>
#include <graft/tuning/frozen.hpp>
#include <graft/tuning/prompt_rows.hpp>

#include <concepts>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace graft {

namespace at {
struct prompt_t {
  static constexpr std::string_view name = "prompt";
};
inline constexpr prompt_t prompt{};
}  // namespace at

// normal: with deviation 1 (PEFT). uniform: in ±0.5 (AdapterHub). vocabulary: the rows of tokens
// drawn at random.
enum class prompt_init : unsigned char { normal, uniform, vocabulary };

constexpr std::string_view name_of(prompt_init i) {
  switch (i) {
    case prompt_init::normal: return "normal";
    case prompt_init::uniform: return "uniform";
    case prompt_init::vocabulary: return "vocabulary";
  }
  return "?";
}

template <detail::freezable L, prompt_encoder Encoder>
struct prompt_layer;

// At at::word the rows are tokens like others: they take the first positions, of type 0, and pass
// the norm (PEFT). At at::embeddings they come in behind all that (AdapterHub).
//
// | option  | meaning                                                          | default |
// | tokens  | virtual tokens per sequence                                      | 10      |
// | init    | how the rows start (see also prompt_layer::start_from)           | normal  |
// | encoder | mlp: P-tuning                                                    | none    |
// | hidden  | width inside the encoder, 0: as wide as the rows                 | 0       |
struct prompt {
  int tokens = 10;
  prompt_init init = prompt_init::normal;
  prompt_encoder encoder = prompt_encoder::none;
  int hidden = 0;

  static constexpr std::string_view name = "prompt";

  constexpr void check() const {
    if (tokens < 1)
      throw "graft: prompt.tokens must be at least 1";
    if (hidden < 0)
      throw "graft: prompt.hidden must be at least 0 (as wide as the rows)";
    if (hidden > 0 && encoder == prompt_encoder::none)
      throw "graft: prompt.hidden must be 0 without an encoder";
    if (init == prompt_init::vocabulary && encoder != prompt_encoder::none)
      throw "graft: prompt.init must be normal or uniform with an encoder, which changes the rows";
  }
  template <class F>
  constexpr void describe(F&& f) const {
    f("tokens", tokens);
    f("init", name_of(init));
    f("encoder", name_of(encoder));
    f("hidden", hidden);
  }

  // prompt goes around the word table or the whole embeddings, once.
  template <class L, class Site, auto Spec>
  static constexpr bool fits = (std::same_as<Site, at::word_t> ||
                                std::same_as<Site, at::embeddings_t>) && !lengthens<L>;
  template <class L, class Site, auto Spec>
  struct misfit {
    static constexpr bool twice = lengthens<L>;
    static_assert(!twice,
                  "graft: there is one prompt in a model, at at::word or at at::embeddings");
    static_assert(twice,
                  "graft: prompt goes to at::word or at::embeddings (keys and values in every layer "
                  "are prefix, at at::memory)");
  };
  template <class L, auto Spec>
  using apply = prompt_layer<L, Spec.encoder>;
};

// y = the rows P [tokens, width] in front of each sequence's rows of L(x);  P trained itself, or
// what an encoder makes of trained rows.
//
// Keeps what the encoder keeps. Lester et al. 2021, arXiv:2104.08691; P-tuning: Liu et al. 2021,
// arXiv:2103.10385.
template <detail::freezable L, prompt_encoder Encoder = prompt_encoder::none>
struct prompt_layer {
  using backend_type = typename L::backend_type;
  using B = backend_type;
  using tensor = typename B::tensor;
  using rows_type =
      std::conditional_t<Encoder == prompt_encoder::mlp, encoded_rows<B>, plain_rows<B>>;

  L base;
  rows_type prompt;
  prompt_init init = prompt_init::normal;
  std::vector<std::int32_t> drawn;  // the tokens of prompt_init::vocabulary

  prompt_layer() = default;
  prompt_layer(L layer, const graft::prompt& spec) : base(std::move(layer)), init(spec.init) {
    resize(spec.tokens, spec.hidden > 0 ? spec.hidden : width());
  }
  prompt_layer(L layer, const graft::prompt& spec, random_stream& random)
      : prompt_layer(std::move(layer), spec) {
    initialize(random);
  }

  index_t virtual_rows() const { return prompt.rows.rows; }
  index_t width() const { return detail::table_in(base).cols; }
  index_t entries() const requires requires(const L& l) { l.entries(); } { return base.entries(); }
  index_t room() const requires requires(const L& l) { l.room(); } { return base.room(); }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::base, z.base...);
    f(at::prompt, z.prompt...);
  }

  struct gradient {
    gradient_t<L> base;
    typename rows_type::gradient prompt;
  };

  template <demand D>
  static constexpr demand of_prompt{false, D.params};
  template <demand D>
  struct cache {
    cache_t<L, D> base;
    cache_t<rows_type, of_prompt<D>> prompt;
    layout rows;
  };
  template <class Cache>
  static const layout& rows(const Cache& c) {
    return c.rows;
  }

  template <demand D, class X>
    requires detail::has_forward<L, X>
  tensor forward(const X& x, cache<D>& c, const context<B>& k) const {
    lengthened_layout(k.batch, virtual_rows(), c.rows);
    const tensor own = base.template forward<D>(x, c.base, k);
    const tensor p = prompt.template forward<of_prompt<D>>(c.prompt, k);
    tensor y = k.make(c.rows.rows(), own.cols);
    B::prepend(y, p, own, k.batch);
    return y;
  }

  template <demand D, class G>
  nothing backward(tensor dy, cache<D>& c, G* g, const context<B>& k) const {
    if constexpr (D.trains()) {
      tensor dp = k.make(virtual_rows(), dy.cols), dx;
      B::fill(dp, 0);
      if constexpr (trainable<L>)
        dx = k.make(k.batch.rows(), dy.cols);
      B::prepend_backward(dp, dx, dy, k.batch);
      prompt.template backward<of_prompt<D>>(std::move(dp), c.prompt, &g->prompt, k);
      if constexpr (trainable<L>)
        base.template backward<D>(std::move(dx), c.base, &g->base, k);
    }
    return {};
  }

  // Starts from the vectors of these tokens, over again until there are enough: those of a text
  // that describes the task, say, once the model is loaded. Throws input_error for no tokens, or
  // such as the table does not have.
  void start_from(std::span<const std::int32_t> ids)
    requires(Encoder == prompt_encoder::none)
  {
    const auto& table = detail::table_in(base);
    if (ids.empty())
      throw input_error("prompt.start_from: expected tokens, found none");
    std::vector<std::int32_t> chosen;
    for (index_t i = 0; i < virtual_rows(); ++i) {
      chosen.push_back(ids[static_cast<std::size_t>(i) % ids.size()]);
      if (chosen.back() < 0 || chosen.back() >= table.rows)
        throw input_error("prompt.start_from: expected ids below " + std::to_string(table.rows) +
                          ", found " + std::to_string(chosen.back()));
    }
    B::gather(prompt.rows, table, chosen, false);
  }

  static constexpr std::string_view method = graft::prompt::name;
  decoration_numbers numbers() const {
    return {{"tokens", virtual_rows()}, {"hidden", prompt.hidden()}};
  }
  // Throws input_error for impossible numbers.
  void renumber(const decoration_numbers& n) {
    const auto tokens = n.count("tokens", 1), hidden = detail::hidden_of<Encoder>(n);
    if (!tokens && !hidden)
      return;
    resize(tokens ? *tokens : virtual_rows(), hidden ? *hidden : prompt.hidden());
  }

  void initialize(random_stream& random) {
    drawn.clear();
    if (init == prompt_init::vocabulary)
      for (index_t i = 0; i < virtual_rows(); ++i)
        drawn.push_back(static_cast<std::int32_t>(
            random.below(static_cast<std::uint64_t>(detail::table_in(base).rows))));
    else
      set_values<B>(prompt.rows, [&] {
        return init == prompt_init::normal ? random.normal() : random.uniform(-0.5, 0.5);
      });
    prompt.initialize_networks(random);
  }
  void start_from_base() {
    if constexpr (Encoder == prompt_encoder::none)
      if (init == prompt_init::vocabulary)
        start_from(drawn);
  }

 private:
  void resize(index_t tokens, index_t hidden) { prompt = rows_type(tokens, width(), hidden); }
};

template <class L, class... Rest>
prompt_layer(L, prompt, Rest&&...) -> prompt_layer<L, prompt_encoder::none>;

}  // namespace graft
