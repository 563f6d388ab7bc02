// SPDX-License-Identifier: MIT
// Gradients against central differences, for any layer, join, embedding or network.
#pragma once

#include <graft/core/layer.hpp>
#include <graft/core/part_list.hpp>
#include <graft/core/site.hpp>
#include <graft/core/store.hpp>
#include <graft/model/tokens.hpp>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
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
// give a layer and its frozen form equal values. Frozen weights must own their memory (a layer just
// made, not one read from a file); quantised ones stay.
template <class B>
void randomize(const part_list<B>& parts, std::uint64_t seed, double deviation) {
  random_stream random(seed, 42);
  for (const listed_parameter<B>& p : parts.parameters) {
    if (!p.data())
      continue;  // quantised
    const double centre = p.kind == parameter_kind::norm_weight ? 1 : 0;
    auto* data = const_cast<typename B::scalar*>(p.data());
    for (index_t i = 0; i < p.size(); ++i)
      data[i] = static_cast<typename B::scalar>(centre + deviation * random.normal());
  }
}
template <lists_parts L>
void randomize(L& layer, std::uint64_t seed = 1, double deviation = 0.6) {
  randomize(list_parts(layer), seed, deviation);
}

// The largest of the absolute values.
double largest(const std::vector<double>& values);

// The largest error of `found`, as a share of the number itself and of the largest number of the
// same matrix, or of `least` where that is larger.
double relative_error(const std::vector<double>& found, const std::vector<double>& expected,
                      double least = 1e-3);

inline constexpr double gradient_tolerance = 1e-6;

// What central differences say of
//   loss(y) = Σ m ∘ y + |y|² / 2,   m fixed and random,
// and whether what a layer says agrees. Compiled once: a layer adds no more than its own steps.
class difference_check {
 public:
  virtual ~difference_check() = default;

 protected:
  // What came of one step forward and backward.
  struct step {
    const char* name;
    demand wanted;
    bool over_tensors = false;
    std::vector<double> y{}, dx{}, gradients{};  // dx only where it is asked for
    std::vector<double> input_after{};
    std::vector<double> slope_after{};  // only where somebody else holds it too
    std::size_t bytes_before = 0, bytes_after = 0;
  };

  virtual std::vector<double> outputs() const = 0;

  void differentiate(std::span<double> input, std::span<double> parameters);
  void compare(const step& found) const;
  double slope_at(std::size_t i) const { return m_[i] + y_[i]; }

  std::vector<segment> segments_;
  std::vector<bool> is_bias_;  // of each segment
  std::vector<double> y_, m_;

 private:
  double difference(double& x) const;
  double rounding() const;

  std::vector<double> input_, of_input_, of_parameters_;
};

// Of which segments of a store the parameters are biases.
template <class B>
std::vector<bool> biases_of(const part_list<B>& parts, const std::vector<segment>& segments) {
  std::vector<bool> found;
  for (const listed_parameter<B>& p : parts.parameters)
    if (p.trained && found.size() < segments.size() && segments[found.size()].path == p.path)
      found.push_back(p.kind == parameter_kind::bias);  // what is shared is listed again
  return found;
}

// A layer and its input under every demand that it may meet.
template <class L, class X>
class gradient_check : difference_check {
  using B = typename L::backend_type;
  using tensor = typename B::tensor;
  static constexpr bool over_tensors = std::is_same_v<X, tensor>;

 public:
  gradient_check(L& layer, X& input, const context<B>& k) : layer_(layer), input_(input), k_(k) {}

  void run() {
    segments_ = parameters_.segments;
    is_bias_ = biases_of(list_parts(layer_), segments_);
    y_ = outputs();
    const tensor m = random_tensor<B>(k_.memory, 1, static_cast<index_t>(y_.size()), 2);
    m_ = values_of(m);
    std::span<double> numbers;
    if constexpr (over_tensors)
      numbers = {input_.data, static_cast<std::size_t>(input_.size())};
    differentiate(numbers,
                  {parameters_.values.data, static_cast<std::size_t>(parameters_.size())});
    if constexpr (over_tensors) {
      check<all_wanted>("{true, all}");
      check<input_wanted>("{true, none}");
      check<biases_wanted>("{true, biases}");
    } else if constexpr (!std::is_same_v<X, token_batch>) {  // a network is never asked for less
      check<only_biases_wanted>("{false, biases}");
    }
    check<parameters_wanted>("{false, all}");
    keeps_nothing_when_nothing_is_wanted();
  }

 private:
  tensor forward() const {
    cache_t<L, nothing_wanted> none{};
    return layer_.template forward<nothing_wanted>(input_, none, k_);
  }
  std::vector<double> outputs() const override { return values_of(forward()); }

  template <demand D>
  void check(const char* name) {
    gradient_buffer<L> g = make_gradient(layer_, parameters_);
    step found{.name = name, .wanted = D, .over_tensors = over_tensors};
    found.bytes_before = k_.memory.bytes_in_use();
    {
      cache_t<L, D> cache{};
      const tensor y = layer_.template forward<D>(input_, cache, k_);
      found.y = values_of(y);
      tensor dy = k_.make(y.rows, y.cols);
      for (index_t i = 0; i < dy.size(); ++i)
        dy.data[i] = slope_at(static_cast<std::size_t>(i));
      tensor held;
      if constexpr (D == all_wanted)
        held = dy;  // then backward must not write into it
      auto dx = layer_.template backward<D>(std::move(dy), cache, &g.gradient, k_);
      if constexpr (D.input && over_tensors)
        found.dx = values_of(dx);
      else
        static_assert(std::is_same_v<decltype(dx), nothing>);
      found.slope_after = values_of(held);
    }
    found.bytes_after = k_.memory.bytes_in_use();
    if constexpr (over_tensors)
      found.input_after = values_of(input_);
    found.gradients.assign(g.values.data, g.values.data + g.values.size());
    compare(found);
  }

  void keeps_nothing_when_nothing_is_wanted() const {
    const std::size_t before = k_.memory.bytes_in_use();
    tensor y;
    {
      cache_t<L, nothing_wanted> none{};
      y = layer_.template forward<nothing_wanted>(input_, none, k_);
      const std::size_t bytes = static_cast<std::size_t>(y.size()) * sizeof(double);
      CHECK(k_.memory.bytes_in_use() <= before + (bytes + 63) / 64 * 64);
    }
    y = {};
    CHECK(k_.memory.bytes_in_use() == before);
  }

  L& layer_;
  X& input_;
  const context<B>& k_;
  parameter_store<B> parameters_ = gather(layer_);
};

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
