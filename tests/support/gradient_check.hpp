// SPDX-License-Identifier: MIT
// Gradients against central differences, for any layer, join, embedding or network.
#pragma once

#include <graft/core/layer.hpp>
#include <graft/core/site.hpp>
#include <graft/core/store.hpp>
#include <graft/model/tokens.hpp>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/catch.hpp"

namespace graft_test {

using namespace graft;
using graft::index_t;  // <strings.h> has one too

inline constexpr demand all_wanted{true, params::all};
inline constexpr demand parameters_wanted{false, params::all};
inline constexpr demand input_wanted{true, params::none};
inline constexpr demand biases_wanted{true, params::biases};
inline constexpr demand only_biases_wanted{false, params::biases};
inline constexpr demand nothing_wanted{false, params::none};

// Sequences of the given lengths, of examples 5, 6, …
inline layout sequences(std::initializer_list<index_t> lengths) {
  layout rows;
  std::uint32_t example = 5;
  for (index_t length : lengths)
    rows.append(length, example++);
  return rows;
}

// The values of a matrix, row after row.
template <class T>
std::vector<double> values_of(matrix_view<T> v) {
  std::vector<double> values;
  for (index_t i = 0; i < v.rows; ++i)
    for (index_t j = 0; j < v.cols; ++j)
      values.push_back(static_cast<double>(v(i, j)));
  return values;
}

template <class B>
typename B::tensor random_tensor(typename B::workspace& memory, index_t rows, index_t cols,
                                 std::uint64_t seed) {
  random_stream random(seed, 77);
  typename B::tensor x = B::make(memory, rows, cols);
  for (index_t i = 0; i < x.size(); ++i)
    x.data[i] = static_cast<typename B::scalar>(random.normal());
  return x;
}

// Random values for every parameter, trained and frozen, in the order of the listing: equal seeds
// give a layer and its frozen form equal values. Frozen weights must own their memory: a layer just
// made, not one read from a file.
template <class L>
void randomize(L& layer, std::uint64_t seed = 1, double deviation = 0.6) {
  random_stream random(seed, 42);
  for_each_parameter(layer, [&]<class Tag>(const std::string&, Tag, auto& p) {
    using value = typename std::remove_cvref_t<decltype(p)>::value_type;
    const double centre = std::is_same_v<Tag, at::norm_weight_t> ? 1 : 0;
    auto* data = const_cast<value*>(p.data);
    for (index_t i = 0; i < p.rows * p.cols; ++i)
      data[i] = static_cast<value>(centre + deviation * random.normal());
  });
}

// The largest of the absolute values.
inline double largest(const std::vector<double>& values) {
  double most = 0;
  for (double v : values)
    most = std::max(most, std::abs(v));
  return most;
}

// The largest error of `found`, as a share of the number itself and of the largest number of the
// same matrix, or of `least` where that is larger.
inline double relative_error(const std::vector<double>& found, const std::vector<double>& expected,
                             double least = 1e-3) {
  if (found.size() != expected.size())
    return INFINITY;
  const double scale = std::max(least, largest(expected));
  double worst = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const double error = std::abs(found[i] - expected[i]) / (std::abs(expected[i]) + scale);
    worst = error <= worst ? worst : error;  // a NaN counts
  }
  return worst;
}

inline constexpr double gradient_tolerance = 1e-6;

// A layer, an input and a step, and what central differences say of
//   loss(y) = Σ m ∘ y + |y|² / 2,   m fixed and random.
template <class L, class X>
struct gradient_check {
  using B = typename L::backend_type;
  using tensor = typename B::tensor;
  using scalar = typename B::scalar;
  static constexpr bool over_tensors = std::is_same_v<X, tensor>;

  L& layer;
  X& input;
  const context<B>& k;
  parameter_store<B> parameters = gather(layer);
  tensor y = outputs();
  tensor m = random_tensor<B>(k.memory, y.rows, y.cols, 2);
  std::vector<double> of_input{}, of_parameters{};
  std::vector<bool> is_bias{};

  void run() {
    gradient_buffer<L> g = make_gradient(layer, parameters);
    for_each_trained(layer, g.gradient, [&]<class Tag>(const std::string& path, Tag, auto&, auto&) {
      const std::size_t next = is_bias.size();  // what is shared is listed again
      if (next < parameters.segments.size() && parameters.segments[next].path == path)
        is_bias.push_back(std::is_same_v<Tag, at::bias_t>);
    });
    of_parameters.resize(static_cast<std::size_t>(parameters.size()));
    for (const segment& s : parameters.segments)
      for (index_t i = s.offset; i < s.offset + s.size(); ++i)
        of_parameters[static_cast<std::size_t>(i)] = difference(parameters.values.data[i]);
    if constexpr (over_tensors) {
      for (index_t i = 0; i < input.size(); ++i)
        of_input.push_back(difference(input.data[i]));
      agrees<all_wanted>("{true, all}");
      agrees<input_wanted>("{true, none}");
      agrees<biases_wanted>("{true, biases}");
    } else if constexpr (!std::is_same_v<X, token_batch>) {  // a network is never asked for less
      agrees<only_biases_wanted>("{false, biases}");
    }
    agrees<parameters_wanted>("{false, all}");
    keeps_nothing_when_nothing_is_wanted();
  }

  tensor outputs() const {
    cache_t<L, nothing_wanted> none{};
    return layer.template forward<nothing_wanted>(input, none, k);
  }

  // d loss / d x. The difference of the two losses is summed from the differences of the outputs:
  // nothing large cancels.
  double difference(scalar& x) const {
    const scalar middle = x, h = static_cast<scalar>(2e-5);
    x = middle + h;
    const scalar above = x;
    const std::vector<double> up = values_of(outputs());
    x = middle - h;
    const double step = static_cast<double>(above - x);
    const std::vector<double> down = values_of(outputs());
    x = middle;
    double change = 0;
    for (std::size_t i = 0; i < up.size(); ++i)
      change += (up[i] - down[i]) * (static_cast<double>(m.data[i]) + (up[i] + down[i]) / 2);
    return change / step;
  }

  tensor slope() const {
    tensor dy = k.copy(m);
    B::add(dy, y);
    return dy;
  }

  // Differences cannot tell from zero what is much smaller than the largest gradient.
  double rounding() const {
    return 1e-4 * std::max({10.0, largest(of_input), largest(of_parameters)});
  }

  template <demand D>
  void agrees(const char* wanted) {
    INFO("demand " << wanted);
    gradient_buffer<L> g = make_gradient(layer, parameters);
    const std::size_t before = k.memory.bytes_in_use();
    std::vector<double> input_before;
    if constexpr (over_tensors)
      input_before = values_of(input);
    {
      cache_t<L, D> cache{};
      const tensor again = layer.template forward<D>(input, cache, k);
      CHECK(values_of(again) == values_of(y));
      tensor dy = slope();
      const tensor held = D == all_wanted ? dy : tensor{};  // then backward must not write into it
      auto dx = layer.template backward<D>(std::move(dy), cache, &g.gradient, k);
      if constexpr (D.input && over_tensors)
        CHECK(relative_error(values_of(dx), of_input, rounding()) <= gradient_tolerance);
      else
        STATIC_REQUIRE(std::is_same_v<decltype(dx), nothing>);
      if constexpr (D == all_wanted)
        CHECK(values_of(held) == values_of(slope()));
    }
    if constexpr (over_tensors)
      CHECK(values_of(input) == input_before);
    CHECK(k.memory.bytes_in_use() == before);
    compare<D>(g);
  }

  template <demand D>
  void compare(const gradient_buffer<L>& g) const {
    for (std::size_t s = 0; s < parameters.segments.size(); ++s) {
      const segment& of = parameters.segments[s];
      std::vector<double> found, expected(static_cast<std::size_t>(of.size()), 0.0);
      for (index_t i = of.offset; i < of.offset + of.size(); ++i)
        found.push_back(static_cast<double>(g.values.data[i]));
      const bool wanted = D.params == params::all || (D.params == params::biases && is_bias[s]);
      if (wanted)
        std::copy_n(of_parameters.begin() + of.offset, of.size(), expected.begin());
      INFO(of.path << (wanted ? "" : ", which nobody asked for"));
      CHECK(relative_error(found, expected, rounding()) <= (wanted ? gradient_tolerance : 0.0));
    }
  }

  void keeps_nothing_when_nothing_is_wanted() const {
    const std::size_t before = k.memory.bytes_in_use();
    cache_t<L, nothing_wanted> none{};
    tensor again = layer.template forward<nothing_wanted>(input, none, k);
    const std::size_t bytes = static_cast<std::size_t>(again.size()) * sizeof(scalar);
    CHECK(k.memory.bytes_in_use() <= before + (bytes + 63) / 64 * 64);
    again = {};
    CHECK(k.memory.bytes_in_use() == before);
  }
};

template <class L, class X>
gradient_check(L&, X&, const context<typename L::backend_type>&) -> gradient_check<L, X>;

// All of a layer's gradients at random parameters and a random input of `columns`.
template <class L>
void check_layer(L layer, const layout& rows, index_t columns, bool training = false,
                 std::uint64_t seed = 1) {
  using B = typename L::backend_type;
  typename B::workspace memory;
  const context<B> k{memory, rows, training, 9, 4};
  randomize(layer, seed);
  auto x = random_tensor<B>(memory, rows.rows(), columns, seed + 1);
  gradient_check<L, typename B::tensor>{layer, x, k}.run();
}

template <class L>
requires requires(const L& l) { l.in(); }
void check_layer(L layer, const layout& rows, bool training = false, std::uint64_t seed = 1) {
  const index_t columns = layer.in();
  check_layer(std::move(layer), rows, columns, training, seed);
}

// A join as a layer over [h | t].
template <class J>
struct join_layer_over {
  using backend_type = typename J::backend_type;
  using B = backend_type;
  using tensor = typename B::tensor;
  using gradient = gradient_t<J>;

  J join;
  index_t in() const { return 2 * join.in(); }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    J::parts(f, part_of(z)...);
  }
  template <demand D>
  using cache = typename J::template cache<D>;

  template <demand D>
  tensor forward(const tensor& x, cache<D>& c, const context<B>& k) const {
    const index_t w = join.in();
    return join.template join<D>(x.columns(0, w), x.columns(w, w), c, k);
  }
  template <demand D, class G>
  auto backward(tensor dy, cache<D>& c, G* g, const context<B>& k) const {
    auto d = join.template split<D>(std::move(dy), c, g, k);
    if constexpr (D.input) {
      const index_t w = join.in();
      tensor dx = k.make(d.h.rows, 2 * w);
      B::copy(dx.columns(0, w), d.h);
      B::copy(dx.columns(w, w), d.t);
      return dx;
    } else {
      return nothing{};
    }
  }

 private:
  template <class Z>
  static auto& part_of(Z& z) {
    if constexpr (std::is_same_v<std::remove_const_t<Z>, join_layer_over>)
      return z.join;
    else
      return z;
  }
};

template <class J>
void check_join(J join, const layout& rows, bool training = false) {
  check_layer(join_layer_over<J>{std::move(join)}, rows, training);
}

// All of a network's gradients at random parameters, over token ids or a batch of them. An
// embedding's ids are the batch's.
template <class N, class X>
void check_network(N& network, X input, const layout& rows, bool training = false,
                   std::uint64_t seed = 1) {
  using B = typename N::backend_type;
  typename B::workspace memory;
  const context<B> k{memory, rows, training, 9, 4};
  randomize(network, seed, 0.3);  // logits of ordinary size: their rounding limits the differences
  gradient_check<N, X>{network, input, k}.run();
}

}  // namespace graft_test
