// SPDX-License-Identifier: MIT
// Where a prefix's keys and values come from, and the gate that may scale them.
#pragma once

#include <graft/core/layer.hpp>
#include <graft/layer/activation.hpp>
#include <graft/layer/initial.hpp>
#include <graft/layer/linear.hpp>
#include <graft/tuning/prompt_rows.hpp>

#include <string_view>
#include <utility>

namespace graft {

namespace at {
struct prefix_keys_t {
  static constexpr std::string_view name = "keys";
  static constexpr bool decays = true;
};
struct prefix_values_t {
  static constexpr std::string_view name = "values";
  static constexpr bool decays = true;
};
// What all layers have in common.
struct prefix_embedding_t {
  static constexpr std::string_view name = "prefix.embedding";
  static constexpr bool decays = true;
  static constexpr bool shared = true;
};
struct prefix_down_t {
  static constexpr std::string_view name = "prefix.down";
  static constexpr bool shared = true;
};
struct prefix_up_t {
  static constexpr std::string_view name = "up";
};
inline constexpr prefix_keys_t prefix_keys{};
inline constexpr prefix_values_t prefix_values{};
inline constexpr prefix_embedding_t prefix_embedding{};
inline constexpr prefix_down_t prefix_down{};
inline constexpr prefix_up_t prefix_up{};
}  // namespace at

// normal: with deviation 1 (what a network makes of such rows, with an encoder). zero: keys and
// values are zero, which the tokens still attend to.
enum class prefix_init : unsigned char { normal, zero };

constexpr std::string_view name_of(prefix_init i) {
  return i == prefix_init::normal ? "normal" : "zero";
}

// Keys and values [tokens, width] of one layer, trained.
template <backend Backend>
struct plain_prefix {
  using backend_type = Backend;
  using B = backend_type;
  using tensor = typename B::tensor;
  using parameter = typename B::parameter;

  parameter keys, values;

  plain_prefix() = default;
  plain_prefix(index_t tokens, index_t width, index_t)
      : keys(tokens, width), values(tokens, width) {}

  index_t tokens() const { return keys.rows; }
  index_t hidden() const { return 0; }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::prefix_keys, z.keys...);
    f(at::prefix_values, z.values...);
  }
  struct gradient {
    parameter keys, values;
  };
  template <demand D>
  struct cache {};

  template <demand D>
  attended<tensor> forward(cache<D>&, const context<B>&) const {
    return {typename B::view(keys), typename B::view(values)};
  }
  template <demand D, class G>
  void backward(attended<tensor> d, cache<D>&, [[maybe_unused]] G* g, const context<B>&) const {
    if constexpr (D.params == params::all) {
      B::add(g->keys, d.keys);
      B::add(g->values, d.values);
    }
  }

  void initialize(random_stream& random, prefix_init init) {
    const auto draw = [&] { return init == prefix_init::normal ? random.normal() : 0; };
    set_values<B>(keys, draw);
    set_values<B>(values, draw);
  }
};

// [keys | values] = tanh(E Aᵀ + a) Bᵀ + b;  E [tokens, width] and A [hidden, width] one for all
// layers, B [2 · width, hidden] the layer's own, all trained. Every layer computes its own part.
//
// Keeps what the two maps keep, and E Aᵀ + a.
template <backend Backend>
struct encoded_prefix {
  using backend_type = Backend;
  using B = backend_type;
  using tensor = typename B::tensor;
  using parameter = typename B::parameter;

  parameter embedding;
  linear<B> down, up;
  activation_layer<B> function{activation::tanh};

  encoded_prefix() = default;
  encoded_prefix(index_t tokens, index_t width, index_t hidden)
      : embedding(tokens, width), down(width, hidden), up(hidden, 2 * width) {}

  index_t tokens() const { return embedding.rows; }
  index_t hidden() const { return down.out(); }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::prefix_embedding, z.embedding...);
    f(at::prefix_down, z.down...);
    f(at::prefix_up, z.up...);
  }
  struct gradient {
    parameter embedding;
    gradient_t<linear<B>> down, up;
  };

  template <demand D>
  static constexpr demand of_down{D.params == params::all, D.params};
  template <demand D>
  static constexpr demand of_up{D.trains(), D.params};
  template <demand D>
  struct cache {
    cache_t<linear<B>, of_down<D>> down;
    cache_t<activation_layer<B>, of_up<D>> middle;
    cache_t<linear<B>, of_up<D>> up;
  };

  template <demand D>
  attended<tensor> forward(cache<D>& c, const context<B>& k) const {
    tensor h = down.template forward<of_down<D>>(typename B::view(embedding), c.down, k);
    h = function.template forward<of_up<D>>(h, c.middle, k);
    const tensor both = up.template forward<of_up<D>>(h, c.up, k);
    const index_t width = both.cols / 2;
    return {both.columns(0, width), both.columns(width, width)};
  }
  template <demand D, class G>
  void backward(attended<tensor> d, cache<D>& c, G* g, const context<B>& k) const {
    if constexpr (D.trains()) {
      const index_t width = d.keys.cols;
      tensor both = k.make(d.keys.rows, 2 * width);
      B::copy(both.columns(0, width), d.keys);
      B::copy(both.columns(width, width), d.values);
      tensor dh = up.template backward<of_up<D>>(std::move(both), c.up, &g->up, k);
      dh = function.template backward<of_up<D>>(std::move(dh), c.middle,
                                                static_cast<nothing*>(nullptr), k);
      auto de = down.template backward<of_down<D>>(std::move(dh), c.down, &g->down, k);
      if constexpr (D.params == params::all)
        B::add(g->embedding, de);
    }
  }

  void initialize(random_stream& random, prefix_init init) {
    set_values<B>(embedding, [&] { return random.normal(); });
    detail::initialize_uniform(down, random);
    detail::initialize_uniform(up, random);
    if (init == prefix_init::zero) {
      set_values<B>(up.weight, [] { return 0; });
      set_values<B>(up.bias, [] { return 0; });
    }
  }
};

// g [sequences, gates] = the mean of σ(x Gᵀ + b) over each sequence's rows. Keeps x and x Gᵀ + b.
// Mao et al. 2022, arXiv:2110.07577, as AdapterHub has it.
template <backend Backend>
struct prefix_gate_map {
  using backend_type = Backend;
  using B = backend_type;
  using tensor = typename B::tensor;

  linear<B> map;
  activation_layer<B> function{activation::sigmoid};

  prefix_gate_map() = default;
  prefix_gate_map(index_t width, index_t gates) : map(width, gates) {}

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::base, z.map...);
  }
  struct gradient {
    gradient_t<linear<B>> map;
  };
  template <demand D>
  static constexpr demand of_function{D.any(), params::none};
  template <demand D>
  struct cache {
    cache_t<linear<B>, D> map;
    cache_t<activation_layer<B>, of_function<D>> function;
  };

  template <demand D>
  tensor forward(const tensor& x, cache<D>& c, const context<B>& k) const {
    const tensor z = map.template forward<D>(x, c.map, k);
    const tensor s = function.template forward<of_function<D>>(z, c.function, k);
    tensor g = k.make(k.batch.sequences(), s.cols);
    B::pool_mean(g, s, k.batch);
    return g;
  }
  template <demand D, class G>
  auto backward(tensor dg, cache<D>& c, G* g, const context<B>& k) const {
    tensor ds = k.make(k.batch.rows(), dg.cols);
    B::pool_mean_backward(ds, dg, k.batch);
    tensor dz = function.template backward<of_function<D>>(std::move(ds), c.function,
                                                           static_cast<nothing*>(nullptr), k);
    return map.template backward<D>(std::move(dz), c.map, part<D>(g, &gradient::map), k);
  }

  // AdapterHub's: G normal with deviation 0.02, b as PyTorch's.
  void initialize(random_stream& random) {
    detail::initialize_uniform(map, random);
    set_values<B>(map.weight, [&] { return 0.02 * random.normal(); });
  }
};

}  // namespace graft
