// SPDX-License-Identifier: MIT
// The flat store: all trained parameters of a model in one buffer, with a table that says what lies
// where. Gradients and optimizer moments are buffers of the same shape.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/layer.hpp>

#include <algorithm>
#include <string>
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

// f(layer, gradient) for a layer and each layer in it that has a gradient, so that a gradient which
// holds vectors gets its length.
template <class L, class G>
void shape_gradient(L& layer, G& gradient) {
  detail::ignore_part leaf;
  auto enter = [](const std::string&, auto& part, auto& mirror) {
    if constexpr (requires { part.shape(mirror); })
      part.shape(mirror);
  };
  walk(std::string{}, no_tag{}, enter, leaf, layer, gradient);
}

template <class B>
typename B::parameter piece(const typename B::parameter& of, index_t offset, index_t rows, index_t cols) {
  return {of.data + offset, rows, cols, of.owner};
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

namespace detail {

// The number of the segment of each trained parameter in the order of the listing: what layers share has
// one number.
class segment_order {
 public:
  std::size_t operator()(bool shared, const std::string& path) {
    if (!shared)
      return next_++;
    const auto [found, is_new] = known_.try_emplace(path, next_);
    next_ += is_new ? 1 : 0;
    return found->second;
  }

 private:
  std::unordered_map<std::string, std::size_t> known_;
  std::size_t next_ = 0;
};

// f(number of the segment, path, tag, parameter, mirror) for every trained parameter.
template <class L, class G, class F>
void for_each_segment(L& layer, G& gradient, F&& f) {
  ignore_part enter;
  segment_order number;
  auto leaf = [&](auto shared, const std::string& path, auto tag, auto& p, auto& mirror) {
    f(number(shared(), path), path, tag, p, mirror);
  };
  walk(std::string{}, no_tag{}, enter, leaf, layer, gradient);
}

}  // namespace detail

// Moves every trained parameter of a layer into one buffer; the layer's parameters become pieces of
// it and keep their values. One that layers share becomes one piece, with the values of the first. A layer
// that trains some of its parameters at another rate says so: rate_factors(f) calls f(tag, factor).
// Throws shape_error when layers share parameters of different shapes.
template <lists_parts L>
parameter_store<typename L::backend_type> gather(L& layer) {
  using B = typename L::backend_type;
  parameter_store<B> store;
  gradient_t<L> shape;
  detail::shape_gradient(layer, shape);
  index_t n = 0;
  detail::for_each_segment(
      layer, shape, [&](std::size_t i, const std::string& path, auto tag, auto& p, auto&) {
        if (i < store.segments.size()) {
          expect_size((path + ": rows").c_str(), store.segments[i].rows, p.rows);
          expect_size((path + ": columns").c_str(), store.segments[i].cols, p.cols);
          return;
        }
        store.segments.push_back({path, n, p.rows, p.cols, tag.decays});
        n += (p.size() + segment_alignment - 1) / segment_alignment * segment_alignment;
      });
  if (n == 0)
    return store;
  for_each_layer(layer, [&](const std::string& path, auto& part) {
    if constexpr (requires { part.rate_factors(detail::ignore_part{}); })
      part.rate_factors([&](auto tag, double factor) {
        for (segment& s : store.segments)
          if (s.path == detail::path_of(path, tag))
            s.rate_factor = factor;
      });
  });
  store.values = typename B::parameter(1, n);
  std::size_t filled = 0;
  detail::for_each_segment(layer, shape, [&](std::size_t i, const auto&, auto, auto& p, auto&) {
    const segment& s = store.segments[i];
    auto moved = detail::piece<B>(store.values, s.offset, s.rows, s.cols);
    if (i == filled) {
      B::copy(moved, p);
      ++filled;
    }
    p = std::move(moved);
  });
  return store;
}

// A gradient for a layer whose trained parameters lie in `store`, all zero.
template <lists_parts L>
gradient_buffer<L> make_gradient(L& layer, const parameter_store<typename L::backend_type>& store) {
  using B = typename L::backend_type;
  gradient_buffer<L> g;
  detail::shape_gradient(layer, g.gradient);
  if (store.size() > 0)
    g.values = typename B::parameter(1, store.size());
  detail::for_each_segment(
      layer, g.gradient, [&](std::size_t i, const auto&, auto, auto&, auto& mirror) {
        const segment& s = store.segments[i];
        mirror = detail::piece<B>(g.values, s.offset, s.rows, s.cols);
      });
  return g;
}

// A gradient for a layer that stands alone.
template <lists_parts L>
gradient_buffer<L> make_gradient(L& layer) {
  return make_gradient(layer, gather(layer));
}

}  // namespace graft
