// SPDX-License-Identifier: MIT
// How an adapter in a join gets its input and its residual.
#pragma once

#include <graft/core/layer.hpp>
#include <graft/tuning/bottleneck_spec.hpp>

#include <utility>

namespace graft {

namespace detail {

// sum += more, an empty sum being zero.
template <class B>
void add_to(typename B::tensor& sum, typename B::tensor more, const context<B>& k) {
  if (!sum.data) {
    sum = std::move(more);
    return;
  }
  sum = k.own(std::move(sum));
  B::add(sum, more);
}

}  // namespace detail

// What an adapter reads, and what is added to its output.
template <class Tensor>
struct adapter_input {
  Tensor x, r;
};

// From a sub-layer's output h and the residual t, J being the join:
//   x = J(h, t), or h without original_ln_before;   r = h, x or h + t.
// D is what is asked of h, t and the join's parameters. Keeps what the call of the join keeps.
template <join_layer J, join_form Form>
struct join_entry {
  using B = typename J::backend_type;
  using tensor = typename B::tensor;

  // What the adapter is asked for: its input's gradient when that leads anywhere.
  template <demand D>
  static constexpr demand of_adapter = Form.original_ln_before ? D.after(reached<J>(D)) : D;
  // Does anybody want the gradient of r?
  template <demand D>
  static constexpr bool residual_wanted = D.input || (Form.residual == adapter_residual::input &&
                                                      of_adapter<D>.input);

  template <demand D>
  struct cache {
    cache_t<J, D> join;
  };

  template <demand D>
  static adapter_input<tensor> enter(const J& base, const tensor& h, const tensor& t, cache<D>& c,
                                     const context<B>& k) {
    adapter_input<tensor> in;
    if constexpr (Form.original_ln_before)
      in.x = base.template join<D>(h, t, c.join, k);
    else
      in.x = h;
    if constexpr (Form.residual == adapter_residual::post_add) {
      in.r = k.copy(h);
      B::add(in.r, t);
    } else {
      in.r = Form.residual == adapter_residual::input ? in.x : h;
    }
    return in;
  }

  // The gradients of h and t, to which `dt` is added first (an empty tensor is zero); or nothing.
  // Without WithResidual nobody wants t's, and it is left empty.
  template <demand D, bool WithResidual = D.input, class X, class G>
  static auto leave(const J& base, [[maybe_unused]] X dx, [[maybe_unused]] tensor dr,
                    [[maybe_unused]] tensor dt, [[maybe_unused]] cache<D>& c, [[maybe_unused]] G* g,
                    const context<B>& k) {
    if constexpr (!of_adapter<D>.input) {
      return nothing{};
    } else {
      if constexpr (Form.residual == adapter_residual::input)
        detail::add_to<B>(dx, std::exchange(dr, tensor{}), k);
      if constexpr (Form.original_ln_before) {
        auto d = base.template split<D>(std::move(dx), c.join, g, k);
        if constexpr (D.input)
          return finish<WithResidual>(std::move(d), std::move(dr), std::move(dt), k);
        else
          return nothing{};
      } else {
        return finish<WithResidual>(branches<tensor>{std::move(dx), {}}, std::move(dr),
                                    std::move(dt), k);
      }
    }
  }

 private:
  template <bool WithResidual>
  static branches<tensor> finish(branches<tensor> d, tensor dr, tensor dt, const context<B>& k) {
    if constexpr (WithResidual) {
      if (dt.data)
        detail::add_to<B>(d.t, std::move(dt), k);
      if (Form.residual == adapter_residual::post_add)
        detail::add_to<B>(d.t, dr, k);
      if (!d.t.data) {
        d.t = k.make(d.h.rows, d.h.cols);
        B::fill(d.t, 0);
      }
    } else {
      d.t = {};
    }
    if (dr.data)
      detail::add_to<B>(d.h, std::move(dr), k);
    return d;
  }
};

}  // namespace graft
