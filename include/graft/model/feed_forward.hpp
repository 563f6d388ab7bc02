// SPDX-License-Identifier: MIT
// The feed-forward sub-layer of a Transformer.
#pragma once

#include <graft/core/on_backend.hpp>
#include <graft/layer/activation.hpp>
#include <graft/layer/dropout.hpp>
#include <graft/layer/linear.hpp>
#include <graft/tuning/occupant.hpp>

#include <cstdint>
#include <type_traits>
#include <utility>

namespace graft {

// h = drop(O(f(I(x)))), I and O the occupants of at::feed_forward_input and feed_forward_output.
//
// Keeps I(x) when gradients must pass f.
template <backend Backend, class Scope>
struct feed_forward {
  using backend_type = Backend;
  using B = backend_type;
  using tensor = typename B::tensor;
  using input_type = leaf<Scope, at::feed_forward_input_t, linear<B>>;
  using output_type = leaf<Scope, at::feed_forward_output_t, linear<B>>;

  input_type input;
  activation_layer<B> middle;
  output_type output;
  dropout<B> drop;

  feed_forward() = default;
  feed_forward(index_t width, index_t inner, activation f, double h_dropout = 0)
      : input(make_leaf<Scope, at::feed_forward_input_t>(linear<B>(width, inner))),
        middle{f},
        output(make_leaf<Scope, at::feed_forward_output_t>(linear<B>(inner, width))) {
    drop.rate = h_dropout;
  }

  index_t in() const { return input.in(); }
  index_t out() const { return output.out(); }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::feed_forward_input, z.input...);
    f(at::feed_forward_output, z.output...);
  }
  template <backend To>
    requires(movable_to<input_type, To> && movable_to<output_type, To>)
  using on_backend = feed_forward<To, Scope>;
  template <class F, class... Z>
  static void settings(F&& f, Z&&... z) {
    f(z.middle.function...);
    f(z.drop...);
  }

  struct mirror {
    gradient_t<input_type> input;
    gradient_t<output_type> output;
  };
  using gradient =
      std::conditional_t<trainable<input_type> || trainable<output_type>, mirror, nothing>;

  template <demand D>
  static constexpr demand behind = D.after(reached<input_type>(D));
  template <demand D>
  struct cache {
    cache_t<input_type, D> input;
    cache_t<activation_layer<B>, behind<D>> middle;
    cache_t<output_type, behind<D>> output;
  };

  template <demand D>
  tensor forward(const tensor& x, cache<D>& c, const context<B>& k) const {
    tensor a = middle.template forward_of<D, behind<D>>(input, x, c.input, c.middle, k);
    return drop.apply(output.template forward<behind<D>>(a, c.output, k), k);
  }

  template <demand D, class G>
  auto backward(tensor dy, cache<D>& c, G* g, const context<B>& k) const {
    dy = drop.apply(std::move(dy), k);
    auto da = output.template backward<behind<D>>(std::move(dy), c.output,
                                                  part<D>(g, &mirror::output), k);
    if constexpr (reached<input_type>(D)) {
      tensor dz = middle.template backward<behind<D>>(std::move(da), c.middle,
                                                      static_cast<nothing*>(nullptr), k);
      return input.template backward<D>(std::move(dz), c.input, part<D>(g, &mirror::input), k);
    } else {
      return nothing{};
    }
  }

  void placed(std::uint32_t place) { drop.place = place; }
};

}  // namespace graft
