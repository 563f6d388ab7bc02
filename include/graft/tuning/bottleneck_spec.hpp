// SPDX-License-Identifier: MIT
// The decoration `bottleneck`: what a recipe says of an adapter.
#pragma once

#include <graft/core/activation.hpp>
#include <graft/core/layer.hpp>
#include <graft/core/site.hpp>

#include <concepts>
#include <string_view>

namespace graft {

// Where a bottleneck A stands, L being the layer it is grafted on:
//   after     y = L(x) + A(L(x))   serial, residual inside the adapter; at joins: bottleneck_join
//   before    y = L(x + A(x))      serial
//   parallel  y = L(x) + A(x)
//   skip      H' = H + A(H)        around a whole Transformer layer, H its output; at::layer only
enum class placement : unsigned char { after, before, parallel, skip };

// identity: U starts at zero, so that a fresh adapter computes exactly the base; D Kaiming-uniform.
// near_identity: all matrices normal with deviation 0.02 (AdapterHub's "bert").
// houlsby: normal with deviation 0.01, cut off at 0.02 (Houlsby et al. 2019).
enum class adapter_init : unsigned char { identity, near_identity, houlsby };

// What s is: a number, a trained number, or a trained number for each column of the output.
enum class adapter_scaling : unsigned char { fixed, learned, channel };

// What is added to an adapter in a join: the sub-layer's output h, the adapter's input, or h + t.
// AdapterHub's residual_before_ln true, false and "post_add".
enum class adapter_residual : unsigned char { output, input, post_add };

// Which parts an adapter has: what of its options is in its type.
struct adapter_form {
  adapter_scaling scaling = adapter_scaling::fixed;
  bool ln_before = false;
  bool ln_after = false;
  bool adapter_residual_before_ln = false;
  bool gating = false;
};

// … and how it lies in a join.
struct join_form {
  bool original_ln_before = true;
  bool original_ln_after = true;
  adapter_residual residual = adapter_residual::output;
  friend constexpr bool operator==(join_form, join_form) = default;
};

template <backend B>
struct linear_maps;
template <class Backend, adapter_form Form = adapter_form{}, class Maps = linear_maps<Backend>>
struct adapter_branch;
template <layer L, placement Where, class Branch = adapter_branch<typename L::backend_type>>
struct bottleneck_layer;
template <join_layer J, class Branch = adapter_branch<typename J::backend_type>,
          join_form Form = join_form{}>
struct bottleneck_join;

// | option                     | meaning                                               | default  |
// | width                      | columns between the matrices                          | 64       |
// | place                      | where the adapter stands                              | after    |
// | inner                      | columns after a third matrix in the middle, 0: none   | 0        |
// | activation                 | σ                                                     | relu     |
// | scale                      | s; where s is learned, what it begins with            | 1        |
// | dropout                    | rate on the adapter's output while training           | 0        |
// | init                       | identity, near_identity or houlsby                    | identity |
// | scaling                    | fixed, learned (one number) or channel (one a column) | fixed    |
// | ln_before, ln_after        | a trained norm before D, after the output             | false    |
// | adapter_residual_before_ln | ln_after takes the residual too                       | false    |
// | gating                     | the output times a number a sequence, adapter_gate    | false    |
// | stochastic_depth           | how often training drops the adapter for a sequence   | 0        |
// At a join alone (bottleneck_join):
// | original_ln_before         | the adapter reads the join, otherwise h               | true     |
// | original_ln_after          | the join is what comes last                           | true     |
// | residual                   | what is added to the adapter: output, input, post_add | output   |
struct bottleneck {
  int width = 64;
  placement place = placement::after;
  int inner = 0;
  enum activation activation = activation::relu;
  float scale = 1;
  float dropout = 0;
  adapter_init init = adapter_init::identity;
  adapter_scaling scaling = adapter_scaling::fixed;
  bool ln_before = false;
  bool ln_after = false;
  bool adapter_residual_before_ln = false;
  bool gating = false;
  float stochastic_depth = 0;
  bool original_ln_before = true;
  bool original_ln_after = true;
  adapter_residual residual = adapter_residual::output;

  static constexpr std::string_view name = "bottleneck";

  constexpr adapter_form form() const {
    return {scaling, ln_before, ln_after, adapter_residual_before_ln, gating};
  }
  constexpr join_form in_join() const { return {original_ln_before, original_ln_after, residual}; }

  constexpr void check() const {
    if (width < 1)
      throw "graft: bottleneck.width must be at least 1";
    if (inner < 0)
      throw "graft: bottleneck.inner must be 0 (two matrices) or more";
    if (!(dropout >= 0 && dropout < 1))
      throw "graft: bottleneck.dropout must be at least 0 and below 1";
    if (!(stochastic_depth >= 0 && stochastic_depth < 1))
      throw "graft: bottleneck.stochastic_depth must be at least 0 and below 1";
    if (adapter_residual_before_ln && !ln_after)
      throw "graft: bottleneck.adapter_residual_before_ln must come with ln_after";
    if (adapter_residual_before_ln && place == placement::parallel)
      throw "graft: bottleneck.adapter_residual_before_ln must come with a residual, and "
            "placement::parallel has none";
  }
  static constexpr std::string_view name_of(placement p) {
    switch (p) {
      case placement::after: return "after";
      case placement::before: return "before";
      case placement::parallel: return "parallel";
      case placement::skip: return "skip";
    }
    return "?";
  }
  static constexpr std::string_view name_of(adapter_scaling s) {
    switch (s) {
      case adapter_scaling::fixed: return "fixed";
      case adapter_scaling::learned: return "learned";
      case adapter_scaling::channel: return "channel";
    }
    return "?";
  }
  static constexpr std::string_view name_of(adapter_residual r) {
    switch (r) {
      case adapter_residual::output: return "output";
      case adapter_residual::input: return "input";
      case adapter_residual::post_add: return "post_add";
    }
    return "?";
  }
  constexpr bool row_by_row() const { return !gating; }
  template <class F>
  constexpr void describe(F&& f) const {
    f("width", width);
    f("place", name_of(place));
    f("inner", inner);
    f("activation", graft::name_of(activation));
    f("scale", scale);
    f("dropout", dropout);
    f("scaling", name_of(scaling));
    f("ln_before", ln_before);
    f("ln_after", ln_after);
    f("adapter_residual_before_ln", adapter_residual_before_ln);
    f("gating", gating);
    f("stochastic_depth", stochastic_depth);
    f("original_ln_before", original_ln_before);
    f("original_ln_after", original_ln_after);
    f("residual", name_of(residual));
  }

  // skip goes around whole Transformer layers only; a join has no before, parallel or skip; only a
  // join has a norm of its own to speak of.
  template <class L, class Site, auto Spec>
  static constexpr bool fits = [] {
    if constexpr (join_layer<L>)
      return Spec.place == placement::after;
    else if constexpr (requires(const L& l) { l.in(), l.out(); })
      return sized_layer<L> && Spec.in_join() == join_form{} &&
             (Spec.place != placement::skip || std::derived_from<Site, at::layer_t>);
    else
      return false;
  }();
  template <class L, class Site, auto Spec>
  struct misfit {
    static constexpr bool join = join_layer<L>;
    static constexpr bool options = !join && !(Spec.in_join() == join_form{});
    static constexpr bool skip = !join && !options && Spec.place == placement::skip;
    static constexpr bool other = !join && !options && !skip;
    static_assert(!join, "graft: a bottleneck in a join takes placement::after only");
    static_assert(!options,
                  "graft: original_ln_before, original_ln_after and residual are options of a "
                  "bottleneck in a join (at::attention_join, at::feed_forward_join)");
    static_assert(!skip, "graft: a bottleneck with placement::skip goes around at::layer only");
    static_assert(!other,
                  "graft: a bottleneck needs a layer over rows of known sizes, and none stands at "
                  "this site (embedding tables take ids)");
  };
  // A branch in its place, for whatever has a bottleneck's options.
  template <class L, class Branch, placement Where, join_form Form>
  struct placed_branch {
    using type = bottleneck_layer<L, Where, Branch>;
  };
  template <join_layer L, class Branch, placement Where, join_form Form>
  struct placed_branch<L, Branch, Where, Form> {
    using type = bottleneck_join<L, Branch, Form>;
  };
  template <class L, auto Spec>
  struct applied {
    static constexpr adapter_form form = Spec.form();
    static constexpr join_form join = Spec.in_join();
    using type = typename placed_branch<L, adapter_branch<typename L::backend_type, form>,
                                        Spec.place, join>::type;
  };
  template <class L, auto Spec>
  using apply = typename applied<L, Spec>::type;
};

}  // namespace graft
