// SPDX-License-Identifier: MIT
// Prefix tuning: learned keys and values in front of those of every sequence, in each attention.
#pragma once

#include <graft/core/layer.hpp>
#include <graft/core/numbers.hpp>
#include <graft/core/site.hpp>
#include <graft/tuning/prefix_positions.hpp>
#include <graft/tuning/prefix_rows.hpp>

#include <concepts>
#include <string_view>
#include <type_traits>
#include <utility>

namespace graft {

namespace at {
struct prefix_t {
  static constexpr std::string_view name = "prefix";
};
struct prefix_gate_t {
  static constexpr std::string_view name = "prefix.gate";
};
inline constexpr prefix_t prefix{};
inline constexpr prefix_gate_t prefix_gates{};
}  // namespace at

// How a number that follows from the sequence scales the prefix (UniPELT): not at all, keys and
// values by one, or by one each.
enum class prefix_gate : unsigned char { none, one, two };

constexpr std::string_view name_of(prefix_gate g) {
  switch (g) {
    case prefix_gate::none: return "none";
    case prefix_gate::one: return "one";
    case prefix_gate::two: return "two";
  }
  return "?";
}

template <memory_layer M, prompt_encoder Encoder, bool Gated>
struct prefix_layer;

// At at::memory it adds keys and values. Selected too, at::position has the positions of tokens
// begin behind the prefix, as PEFT's do for BERT; without it they are as ever (AdapterHub).
//
// | option  | meaning                                                            | default |
// | tokens  | keys and values per sequence and layer                             | 30      |
// | encoder | mlp: a network that all layers share makes them, for stable training | none  |
// | hidden  | width inside the encoder, 0: as wide as the model                  | 0       |
// | init    | normal or zero                                                     | normal  |
// | gate    | how the prefix is scaled by sequence                               | none    |
struct prefix {
  int tokens = 30;
  prompt_encoder encoder = prompt_encoder::none;
  int hidden = 0;
  prefix_init init = prefix_init::normal;
  prefix_gate gate = prefix_gate::none;

  static constexpr std::string_view name = "prefix";

  constexpr void check() const {
    if (tokens < 1)
      throw "graft: prefix.tokens must be at least 1";
    if (hidden < 0)
      throw "graft: prefix.hidden must be at least 0 (as wide as the model)";
    if (hidden > 0 && encoder == prompt_encoder::none)
      throw "graft: prefix.hidden must be 0 without an encoder";
  }
  template <class F>
  constexpr void describe(F&& f) const {
    f("tokens", tokens);
    f("encoder", name_of(encoder));
    f("hidden", hidden);
    f("init", name_of(init));
    f("gate", name_of(gate));
  }

  template <class L, class Site, auto Spec>
  static constexpr bool fits = memory_layer<L> || std::same_as<Site, at::position_t>;
  template <class L, class Site, auto Spec>
  struct misfit {
    static_assert(sizeof(L) == 0,
                  "graft: prefix goes to at::memory, and to at::position where positions are to "
                  "begin behind it (virtual tokens that all layers see are prompt, at at::word)");
  };
  template <class L, auto Spec>
  struct choose {
    using type = prefix_positions<L>;
  };
  template <memory_layer L, auto Spec>
  struct choose<L, Spec> {
    using type = prefix_layer<L, Spec.encoder, Spec.gate != prefix_gate::none>;
  };
  template <class L, auto Spec>
  using apply = typename choose<L, Spec>::type;
};

// Attention sees [g_k P_k; k] and [g_v P_v; v], with P_k, P_v [tokens, width] before the keys and
// values of every sequence, g = 1 or the sequence's gates. No position, norm or bias is added to
// them.
//
// Keeps the layout of keys; what the encoder and the gate keep; with a gate, g, P_k and P_v.
// Li & Liang 2021, arXiv:2101.00190.
template <memory_layer M, prompt_encoder Encoder = prompt_encoder::none, bool Gated = false>
struct prefix_layer {
  using backend_type = typename M::backend_type;
  using B = backend_type;
  using tensor = typename B::tensor;
  using scalar = typename B::scalar;
  using rows_type =
      std::conditional_t<Encoder == prompt_encoder::mlp, encoded_prefix<B>, plain_prefix<B>>;

  M base;
  rows_type prefix;
  std::conditional_t<Gated, prefix_gate_map<B>, nothing> gate;
  prefix_init init = prefix_init::normal;

  prefix_layer() = default;
  prefix_layer(M memory, const graft::prefix& spec) : base(std::move(memory)), init(spec.init) {
    resize(spec.tokens, spec.hidden > 0 ? spec.hidden : width());
    if constexpr (Gated)
      gate = prefix_gate_map<B>(width(), spec.gate == prefix_gate::two ? 2 : 1);
  }
  prefix_layer(M memory, const graft::prefix& spec, random_stream& random)
      : prefix_layer(std::move(memory), spec) {
    initialize(random);
  }

  index_t width() const { return base.width(); }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::base, z.base...);
    f(at::prefix, z.prefix...);
    if constexpr (Gated)
      f(at::prefix_gates, z.gate...);
  }

  struct plain_gradient {
    gradient_t<M> base;
    typename rows_type::gradient prefix;
  };
  struct gated_gradient : plain_gradient {
    typename prefix_gate_map<B>::gradient gate;
  };
  using gradient = std::conditional_t<Gated, gated_gradient, plain_gradient>;

  template <demand D>
  static constexpr demand of_prefix{false, D.params};
  template <demand D>
  struct plain_cache {
    cache_t<M, D> base;
    cache_t<rows_type, of_prefix<D>> prefix;
    lasting_layout keys;
  };
  template <demand D>
  struct gated_cache : plain_cache<D> {
    cache_t<prefix_gate_map<B>, D> gate;
    attended<tensor> rows;
    tensor gates;
  };
  template <demand D>
  struct cache : std::conditional_t<Gated, gated_cache<D>, plain_cache<D>> {};

  template <class Cache>
  static const layout& key_rows(const Cache& c, const context<B>&) {
    return c.keys;
  }

  template <demand D>
  attended<tensor> extend(attended<tensor> kv, const tensor& x, cache<D>& c,
                          const context<B>& k) const {
    kv = base.template extend<D>(std::move(kv), x, c.base, k);
    const layout& before = M::key_rows(c.base, k);
    lengthened_layout(before, prefix.tokens(), c.keys);
    attended<tensor> rows = prefix.template forward<of_prefix<D>>(c.prefix, k);
    if constexpr (Gated) {
      // Gates are a factor of each sequence's own rows.
      tensor gates = gate.template forward<D>(x, c.gate, k);
      rows = {one_row(std::move(rows.keys), k), one_row(std::move(rows.values), k)};
      attended<tensor> own{scaled(rows.keys, key_gate(gates), k),
                           scaled(rows.values, value_gate(gates), k)};
      if constexpr (D.any()) {
        c.rows = std::move(rows);
        c.gates = std::move(gates);
      }
      rows = std::move(own);
    }
    return {joined(rows.keys, kv.keys, c.keys, before, k),
            joined(rows.values, kv.values, c.keys, before, k)};
  }

  template <demand D, class G>
  attended<tensor> retract(attended<tensor> d, cache<D>& c, G* g, const context<B>& k) const {
    attended<tensor> rest, own;
    if constexpr (D.any()) {
      const layout& before = M::key_rows(c.base, k);
      if constexpr (D.input)
        rest = {k.make(before.rows(), width()), k.make(before.rows(), width()), std::move(d.x)};
      if constexpr (Gated)
        own = zeros(before.sequences() * prefix.tokens(), k);
      else if constexpr (D.trains())
        own = zeros(prefix.tokens(), k);
      B::prepend_backward(own.keys, rest.keys, d.keys, before);
      B::prepend_backward(own.values, rest.values, d.values, before);
      d = {};
      if constexpr (Gated) {
        tensor dg = k.make(c.gates.rows, c.gates.cols);
        B::fill(dg, 0);
        own = {unscaled(own.keys, c.rows.keys, key_gate(c.gates), key_gate(dg), k),
               unscaled(own.values, c.rows.values, value_gate(c.gates), value_gate(dg), k)};
        auto dx = gate.template backward<D>(std::move(dg), c.gate, part<D>(g, &gradient::gate), k);
        if constexpr (D.input) {
          if (rest.x.data)
            B::add(dx, rest.x);
          rest.x = std::move(dx);
        }
      }
      if constexpr (D.trains())
        prefix.template backward<of_prefix<D>>(std::move(own), c.prefix, &g->prefix, k);
      if constexpr (reached<M>(D))
        rest = base.template retract<D>(std::move(rest), c.base, part<D>(g, &gradient::base), k);
    }
    return rest;
  }

  static constexpr std::string_view method = graft::prefix::name;
  decoration_numbers numbers() const {
    return {{"tokens", prefix.tokens()}, {"hidden", prefix.hidden()}};
  }
  // Throws input_error for impossible numbers.
  void renumber(const decoration_numbers& n) {
    const auto tokens = n.count("tokens", 1), hidden = detail::hidden_of<Encoder>(n);
    if (!tokens && !hidden)
      return;
    resize(tokens ? *tokens : prefix.tokens(), hidden ? *hidden : prefix.hidden());
  }

  void initialize(random_stream& random) {
    prefix.initialize(random, init);
    if constexpr (Gated)
      gate.initialize(random);
  }

 private:
  void resize(index_t tokens, index_t hidden) { prefix = rows_type(tokens, width(), hidden); }

  static tensor key_gate(const tensor& gates) { return gates.columns(0, 1); }
  static tensor value_gate(const tensor& gates) { return gates.columns(gates.cols - 1, 1); }

  // A matrix as one row.
  static tensor one_row(tensor x, const context<B>& k) {
    if (!x.contiguous())
      x = k.copy(x);
    return {x.shaped(1, x.size()), x.memory};
  }
  attended<tensor> zeros(index_t rows, const context<B>& k) const {
    attended<tensor> d{k.make(rows, width()), k.make(rows, width())};
    B::fill(d.keys, 0);
    B::fill(d.values, 0);
    return d;
  }

  // gates [sequences, 1] times all of P, as [sequences · tokens, width]; P given as one row.
  tensor scaled(const tensor& row, const tensor& gates, const context<B>& k) const {
    tensor y = k.make(gates.rows * prefix.tokens(), width());
    B::product_nn(y.shaped(gates.rows, row.cols), gates, row, 1, false);
    return y;
  }
  // Its backward: the gates' gradient is added to, that of P returned.
  tensor unscaled(const tensor& dy, const tensor& row, const tensor& gates, tensor dgates,
                  const context<B>& k) const {
    const typename B::const_view by_sequence = dy.shaped(gates.rows, row.cols);
    B::product_nt(dgates, by_sequence, row, 1, true);
    tensor dp = k.make(prefix.tokens(), width());
    B::product_tn(dp.shaped(1, row.cols), gates, by_sequence, 1, false);
    return dp;
  }
  static tensor joined(const tensor& prefix_rows, const tensor& own, const layout& after,
                       const layout& before, const context<B>& k) {
    tensor y = k.make(after.rows(), own.cols);
    B::prepend(y, prefix_rows, own, before);
    return y;
  }
};

template <class M, class... Rest>
prefix_layer(M, prefix, Rest&&...) -> prefix_layer<M, prompt_encoder::none, false>;

}  // namespace graft
