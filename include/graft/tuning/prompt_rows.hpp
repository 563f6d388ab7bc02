// SPDX-License-Identifier: MIT
// Where the rows of a prompt come from: they are trained themselves, or a small network that is
// trained makes them.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/layer.hpp>
#include <graft/core/numbers.hpp>
#include <graft/layer/activation.hpp>
#include <graft/layer/initial.hpp>
#include <graft/layer/linear.hpp>

#include <cmath>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace graft {

// none: the rows are the parameters. mlp: a network that is trained with them makes them of others.
enum class prompt_encoder : unsigned char { none, mlp };

constexpr std::string_view name_of(prompt_encoder e) {
  return e == prompt_encoder::none ? "none" : "mlp";
}

namespace at {
struct prompt_rows_t {
  static constexpr std::string_view name = "rows";
  static constexpr bool decays = true;
};
struct prompt_first_t {
  static constexpr std::string_view name = "first";
};
struct prompt_second_t {
  static constexpr std::string_view name = "second";
};
struct prompt_third_t {
  static constexpr std::string_view name = "third";
};
inline constexpr prompt_rows_t prompt_rows{};
inline constexpr prompt_first_t prompt_first{};
inline constexpr prompt_second_t prompt_second{};
inline constexpr prompt_third_t prompt_third{};
}  // namespace at

namespace detail {

// PyTorch's initial values of a linear layer: weight and bias uniform in ±1/√in.
template <backend B>
void initialize_uniform(linear<B>& l, random_stream& random) {
  const double bound = 1 / std::sqrt(static_cast<double>(l.in()));
  const auto draw = [&] { return random.uniform(-bound, bound); };
  set_values<B>(l.weight, draw);
  set_values<B>(l.bias, draw);
}

// The number `hidden`. Throws input_error for one that the encoder cannot have.
template <prompt_encoder Encoder>
std::optional<int> hidden_of(const decoration_numbers& n) {
  const auto hidden = n.count("hidden", Encoder == prompt_encoder::mlp ? 1 : 0);
  if (hidden && *hidden > 0 && Encoder == prompt_encoder::none)
    throw input_error("hidden: expected 0 without an encoder, found " + std::to_string(*hidden));
  return hidden;
}

}  // namespace detail

// P [tokens, width], trained.
template <backend Backend>
struct plain_rows {
  using backend_type = Backend;
  using B = backend_type;
  using tensor = typename B::tensor;
  using parameter = typename B::parameter;

  parameter rows;

  plain_rows() = default;
  plain_rows(index_t tokens, index_t width, index_t) : rows(tokens, width) {}

  index_t hidden() const { return 0; }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::prompt_rows, z.rows...);
  }
  struct gradient {
    parameter rows;
  };
  template <demand D>
  struct cache {};

  template <demand D>
  tensor forward(cache<D>&, const context<B>&) const {
    return typename B::view(rows);
  }
  template <demand D, class G>
  void backward(tensor dy, cache<D>&, [[maybe_unused]] G* g, const context<B>&) const {
    if constexpr (D.params == params::all)
      B::add(g->rows, dy);
  }

  void initialize_networks(random_stream&) {}
};

// relu(relu(P Aᵀ + a) Bᵀ + b) Cᵀ + c;  P [tokens, width], A [hidden, width], B [hidden, hidden],
// C [width, hidden], all trained. Liu et al. 2021, arXiv:2103.10385, with PEFT's network.
//
// Keeps what its three maps keep, and the columns before each relu.
template <backend Backend>
struct encoded_rows {
  using backend_type = Backend;
  using B = backend_type;
  using tensor = typename B::tensor;
  using parameter = typename B::parameter;

  parameter rows;
  linear<B> first, second, third;
  activation_layer<B> function{activation::relu};

  encoded_rows() = default;
  encoded_rows(index_t tokens, index_t width, index_t hidden)
      : rows(tokens, width), first(width, hidden), second(hidden, hidden), third(hidden, width) {}

  index_t hidden() const { return first.out(); }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::prompt_rows, z.rows...);
    f(at::prompt_first, z.first...);
    f(at::prompt_second, z.second...);
    f(at::prompt_third, z.third...);
  }
  struct gradient {
    parameter rows;
    gradient_t<linear<B>> first, second, third;
  };

  template <demand D>
  static constexpr demand of_first{D.params == params::all, D.params};
  template <demand D>
  static constexpr demand inside{D.trains(), D.params};
  template <demand D>
  struct cache {
    cache_t<linear<B>, of_first<D>> first;
    cache_t<linear<B>, inside<D>> second, third;
    cache_t<activation_layer<B>, inside<D>> low, high;
  };

  template <demand D>
  tensor forward(cache<D>& c, const context<B>& k) const {
    tensor h = first.template forward<of_first<D>>(typename B::view(rows), c.first, k);
    h = function.template forward<inside<D>>(h, c.low, k);
    h = second.template forward<inside<D>>(h, c.second, k);
    h = function.template forward<inside<D>>(h, c.high, k);
    return third.template forward<inside<D>>(h, c.third, k);
  }
  template <demand D, class G>
  void backward(tensor dy, cache<D>& c, G* g, const context<B>& k) const {
    if constexpr (D.trains()) {
      constexpr nothing* none = nullptr;
      tensor d = third.template backward<inside<D>>(std::move(dy), c.third, &g->third, k);
      d = function.template backward<inside<D>>(std::move(d), c.high, none, k);
      d = second.template backward<inside<D>>(std::move(d), c.second, &g->second, k);
      d = function.template backward<inside<D>>(std::move(d), c.low, none, k);
      auto dp = first.template backward<of_first<D>>(std::move(d), c.first, &g->first, k);
      if constexpr (D.params == params::all)
        B::add(g->rows, dp);
    }
  }

  void initialize_networks(random_stream& random) {
    for (linear<B>* l : {&first, &second, &third})
      detail::initialize_uniform(*l, random);
  }
};

}  // namespace graft
