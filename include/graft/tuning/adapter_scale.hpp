// SPDX-License-Identifier: MIT
// A trained scale of an adapter's output.
#pragma once

#include <graft/core/layer.hpp>

#include <string_view>
#include <utility>

namespace graft {

namespace at {
struct scale_value_t {
  static constexpr std::string_view name = "";
  static constexpr bool decays = true;
};
inline constexpr scale_value_t scale_value{};
}  // namespace at

// y = x ∘ s, for every row;  s [1, 1] or [1, width], x [n, width].  Keeps x when asked for the
// gradient of s.
template <backend B>
struct adapter_scale {
  using backend_type = B;
  using tensor = typename B::tensor;

  typename B::parameter value;

  adapter_scale() = default;
  explicit adapter_scale(index_t columns) : value(1, columns) {}

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::scale_value, z.value...);
  }

  struct gradient {
    typename B::parameter value;
  };
  template <demand D>
  struct cache {};
  template <demand D>
    requires(D.params == params::all)
  struct cache<D> {
    tensor x;
  };

  template <demand D>
  tensor forward(const tensor& x, [[maybe_unused]] cache<D>& c, const context<B>& k) const {
    tensor y = k.make(x.rows, x.cols);
    B::multiply_row(y, x, row(x.cols, k), false);
    if constexpr (D.params == params::all)
      c.x = x;
    return y;
  }

  template <demand D, class G>
  auto backward(tensor dy, [[maybe_unused]] cache<D>& c, [[maybe_unused]] G* g,
                const context<B>& k) const {
    if constexpr (D.params == params::all) {
      if (value.cols == dy.cols) {
        B::dot_columns(g->value, dy, c.x);
      } else {
        tensor dots = k.make(dy.rows, 1);
        B::dot_rows(dots, dy, c.x, 1, false);
        B::sum_rows(g->value, dots);
      }
    }
    if constexpr (D.input) {
      dy = k.own(std::move(dy));
      B::multiply_row(dy, dy, row(dy.cols, k), false);
      return dy;
    } else {
      return nothing{};
    }
  }

  void set(float to) {
    B::fill(value, static_cast<typename B::scalar>(to));
  }

 private:
  // s as a row of the given width.
  tensor row(index_t width, const context<B>& k) const {
    if (value.cols == width)
      return tensor(typename B::view(value));
    tensor ones = k.make(width, 1), s = k.make(1, width);
    B::fill(ones, 1);
    B::product_nt(s, value, ones, 1, false);
    return s;
  }
};

}  // namespace graft
