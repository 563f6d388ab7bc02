// SPDX-License-Identifier: MIT
// The flat store: all trained parameters of a model in one buffer, with a table that says what lies
// where. Gradients and optimizer moments are buffers of the same shape.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/layer.hpp>
#include <graft/core/part_list.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace graft {

// One trained matrix in the store: values[offset .. offset + rows · cols).
struct segment {
  std::string path;
  index_t offset = 0;
  index_t rows = 0;
  index_t cols = 0;
  bool decays = true;      // weight decay acts on it unless the user says otherwise
  double rate_factor = 1;  // multiplies the learning rate

  index_t size() const { return rows * cols; }
};

// Segments begin at multiples of `segment_alignment` elements; what lies between them stays zero.
inline constexpr index_t segment_alignment = 16;

template <class B>
struct parameter_store {
  typename B::parameter values;  // [1, n]
  std::vector<segment> segments;

  index_t size() const { return values.cols; }
  // Trained numbers, without the gaps.
  index_t count() const {
    index_t n = 0;
    for (const segment& s : segments)
      n += s.size();
    return n;
  }
};

namespace detail {

template <class B>
typename B::parameter piece(const typename B::parameter& of, const segment& s) {
  return {of.data + s.offset, s.rows, s.cols, of.owner};
}

// f(number of its segment, parameter) for every trained parameter: what layers share has one
// number.
template <class B, class F>
void for_each_segment(const part_list<B>& parts, F&& f) {
  std::unordered_map<std::string_view, std::size_t> known;
  std::size_t next = 0;
  for (const listed_parameter<B>& p : parts.parameters) {
    if (!p.trained)
      continue;
    if (!p.shared) {
      f(next++, p);
      continue;
    }
    const auto [found, is_new] = known.try_emplace(p.path, next);
    next += is_new ? 1 : 0;
    f(found->second, p);
  }
}

template <class B>
parameter_store<B> gather(const part_list<B>& parts) {
  parameter_store<B> store;
  index_t n = 0;
  for_each_segment(parts, [&](std::size_t i, const listed_parameter<B>& p) {
    if (i < store.segments.size()) {
      expect_size((p.path + ": rows").c_str(), store.segments[i].rows, p.rows());
      expect_size((p.path + ": columns").c_str(), store.segments[i].cols, p.cols());
      return;
    }
    store.segments.push_back({p.path, n, p.rows(), p.cols(), p.decays});
    n += (p.size() + segment_alignment - 1) / segment_alignment * segment_alignment;
  });
  if (n == 0)
    return store;
  for (const listed_layer<B>& l : parts.layers)
    if (l.may->rate_factors)
      l.may->rate_factors(l.layer, [&](std::string_view tag, double factor) {
        for (segment& s : store.segments)
          if (s.path == joined(l.path, tag))
            s.rate_factor = factor;
      });
  store.values = typename B::parameter(1, n);
  std::size_t filled = 0;
  for_each_segment(parts, [&](std::size_t i, const listed_parameter<B>& p) {
    auto moved = piece<B>(store.values, store.segments[i]);
    if (i == filled) {
      B::copy(moved, *p.parameter);
      ++filled;
    }
    *p.parameter = std::move(moved);
  });
  return store;
}

}  // namespace detail

// A gradient of a layer, and the one buffer its members are pieces of (or nothing).
template <class L>
struct gradient_buffer {
  using B = typename L::backend_type;
  typename B::parameter values;
  gradient_t<L> gradient;

  void clear() {
    if (values.cols > 0)
      B::fill(values, 0);
  }
};

// Moves every trained parameter of a layer into one buffer; the layer's parameters become pieces of
// it and keep their values. One that layers share becomes one piece, with the values of the first.
// A layer that trains some of its parameters at another rate says so: rate_factors(f) calls f(tag,
// factor). Throws shape_error when layers share parameters of different shapes.
template <lists_parts L>
parameter_store<typename L::backend_type> gather(L& layer) {
  return detail::gather(list_parts(layer));
}

// A gradient for a layer whose trained parameters lie in `store`, all zero.
template <lists_parts L>
gradient_buffer<L> make_gradient(L& layer, const parameter_store<typename L::backend_type>& store) {
  using B = typename L::backend_type;
  gradient_buffer<L> g;
  const part_list<B> parts = list_parts(layer, g.gradient);
  if (store.size() > 0)
    g.values = typename B::parameter(1, store.size());
  detail::for_each_segment(parts, [&](std::size_t i, const listed_parameter<B>& p) {
    *p.gradient = detail::piece<B>(g.values, store.segments[i]);
  });
  return g;
}

// A gradient for a layer that stands alone.
template <lists_parts L>
gradient_buffer<L> make_gradient(L& layer) {
  return make_gradient(layer, gather(layer));
}

}  // namespace graft
