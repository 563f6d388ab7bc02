// SPDX-License-Identifier: MIT
// Compacter: bottleneck adapters whose matrices are sums of Kronecker products.
#pragma once

#include <graft/core/numbers.hpp>
#include <graft/layer/kronecker.hpp>
#include <graft/tuning/adapter_branch.hpp>
#include <graft/tuning/bottleneck_join.hpp>
#include <graft/tuning/bottleneck_layer.hpp>
#include <graft/tuning/bottleneck_spec.hpp>

#include <cmath>
#include <string_view>
#include <type_traits>

namespace graft {

namespace detail {

template <class Tag>
struct decaying {
  static constexpr bool decays = true;
};
// The names of a bank's parameters: a matrix's own, or those of all adapters of a model.
struct own_rule {
  struct whole : decaying<whole> {
    static constexpr std::string_view name = "rule";
  };
  struct left : decaying<left> {
    static constexpr std::string_view name = "rule_left";
  };
  struct right : decaying<right> {
    static constexpr std::string_view name = "rule_right";
  };
};
struct shared_rule {
  struct whole : decaying<whole> {
    static constexpr bool shared = true;
    static constexpr std::string_view name = "compacter.rule";
  };
  struct left : decaying<left> {
    static constexpr bool shared = true;
    static constexpr std::string_view name = "compacter.rule_left";
  };
  struct right : decaying<right> {
    static constexpr bool shared = true;
    static constexpr std::string_view name = "compacter.rule_right";
  };
};
struct own_weight {
  struct whole : decaying<whole> {
    static constexpr std::string_view name = "weight";
  };
  struct left : decaying<left> {
    static constexpr std::string_view name = "weight_left";
  };
  struct right : decaying<right> {
    static constexpr std::string_view name = "weight_right";
  };
};
template <bool Up>
struct shared_weight {
  struct whole : decaying<whole> {
    static constexpr bool shared = true;
    static constexpr std::string_view name = Up ? "compacter.up" : "compacter.down";
  };
  struct left : decaying<left> {
    static constexpr bool shared = true;
    static constexpr std::string_view name = Up ? "compacter.up_left" : "compacter.down_left";
  };
  struct right : decaying<right> {
    static constexpr bool shared = true;
    static constexpr std::string_view name = Up ? "compacter.up_right" : "compacter.down_right";
  };
};

}  // namespace detail

template <backend B, bool SharedRule, bool SharedWeight>
struct kronecker_maps;

// An adapter with y = x H + b, H = Σ_i R_i ⊗ W_i, where a bottleneck has a matrix; at the places of
// a bottleneck, with the same formulas (Karimi Mahabadi et al. 2021, arXiv:2106.04647; AdapterHub's
// phm_layer).
//
// | option            | meaning                                                   | default  |
// | width             | columns between the matrices                              | 24       |
// | place             | where the adapter stands                                  | after    |
// | dim               | m: how many R_i [m, m] and W_i; divides all widths        | 4        |
// | rank              | of the W_i that are factorized                            | 1        |
// | factorized_weight | W_i = left_i right_i                                      | true     |
// | factorized_rule   | R_i = left_i right_i, of rank 1                           | false    |
// | shared_rule       | one set of R_i for the whole model                        | true     |
// | shared_weight     | one set of W_i for all downward matrices, one for all     |          |
// |                   | upward                                                    | false    |
// | bias              | is there a b                                              | true     |
// | activation        | σ                                                         | gelu     |
// | init              | identity or near_identity, see kronecker_maps             | identity |
// scale, dropout, stochastic_depth, original_ln_before, original_ln_after and residual are those of
// a bottleneck.
struct compacter {
  int width = 24;
  placement place = placement::after;
  int dim = 4;
  int rank = 1;
  bool factorized_weight = true;
  bool factorized_rule = false;
  bool shared_rule = true;
  bool shared_weight = false;
  bool bias = true;
  enum activation activation = activation::gelu;
  float scale = 1;
  float dropout = 0;
  float stochastic_depth = 0;
  adapter_init init = adapter_init::identity;
  bool original_ln_before = true;
  bool original_ln_after = true;
  adapter_residual residual = adapter_residual::output;

  static constexpr std::string_view name = "compacter";

  // The bottleneck at the same place.
  constexpr bottleneck frame() const {
    bottleneck b;
    b.width = width;
    b.place = place;
    b.dropout = dropout;
    b.stochastic_depth = stochastic_depth;
    b.original_ln_before = original_ln_before;
    b.original_ln_after = original_ln_after;
    b.residual = residual;
    return b;
  }
  constexpr void check() const {
    if (dim < 1)
      throw "graft: compacter.dim must be at least 1";
    if (rank < 1)
      throw "graft: compacter.rank must be at least 1";
    if (width < 1 || width % dim != 0)
      throw "graft: compacter.width must be a multiple of dim";
    if (init == adapter_init::houlsby)
      throw "graft: compacter.init must be identity or near_identity";
    frame().check();
  }
  constexpr bool row_by_row() const { return true; }
  template <class F>
  constexpr void describe(F&& f) const {
    f("width", width);
    f("place", bottleneck::name_of(place));
    f("dim", dim);
    f("rank", rank);
    f("factorized_weight", factorized_weight);
    f("factorized_rule", factorized_rule);
    f("shared_rule", shared_rule);
    f("shared_weight", shared_weight);
    f("bias", bias);
    f("activation", graft::name_of(activation));
    f("scale", scale);
    f("dropout", dropout);
    f("stochastic_depth", stochastic_depth);
    f("original_ln_before", original_ln_before);
    f("original_ln_after", original_ln_after);
    f("residual", bottleneck::name_of(residual));
  }

  template <class L, class Site, auto Spec>
  static constexpr bool fits = bottleneck::fits<L, Site, Spec.frame()>;
  template <class L, class Site, auto Spec>
  struct misfit : bottleneck::misfit<L, Site, Spec.frame()> {};
  template <class L, auto Spec>
  struct applied {
    using B = typename L::backend_type;
    using maps = kronecker_maps<B, Spec.shared_rule, Spec.shared_weight>;
    static constexpr bottleneck frame = Spec.frame();
    static constexpr join_form join = frame.in_join();
    using type =
        typename bottleneck::template placed_branch<L, adapter_branch<B, adapter_form{}, maps>,
                                                    Spec.place, join>::type;
  };
  template <class L, auto Spec>
  using apply = typename applied<L, Spec>::type;
};

// The matrices of such an adapter. Rules and weights that are shared have one path in the model.
template <backend B, bool SharedRule, bool SharedWeight>
struct kronecker_maps {
  using spec = compacter;
  using rule_names = std::conditional_t<SharedRule, detail::shared_rule, detail::own_rule>;
  template <bool Up>
  using map =
      kronecker<B, rule_names,
                std::conditional_t<SharedWeight, detail::shared_weight<Up>, detail::own_weight>>;
  using down_type = map<false>;
  using up_type = map<true>;
  static constexpr std::string_view method = compacter::name;

  index_t dim = 4, rank = 1;
  bool factorized_weight = true, factorized_rule = false, bias = true;

  kronecker_maps() = default;
  explicit kronecker_maps(const compacter& s)
      : dim(s.dim),
        rank(s.rank),
        factorized_weight(s.factorized_weight),
        factorized_rule(s.factorized_rule),
        bias(s.bias) {}

  down_type down(index_t in, index_t out) const { return make<down_type>(in, out); }
  up_type up(index_t in, index_t out) const { return make<up_type>(in, out); }

  void numbers(decoration_numbers& n) const {
    n.set("dim", static_cast<double>(dim));
    n.set("rank", static_cast<double>(rank));
  }
  // Were there other sizes?
  bool renumber(const decoration_numbers& n) {
    const auto other_dim = n.count("dim", 1), other_rank = n.count("rank", 1);
    dim = other_dim ? *other_dim : dim;
    rank = other_rank ? *other_rank : rank;
    return other_dim || other_rank;
  }

  // R_i normal, W_i Glorot-normal, b zero. identity: R_i with deviation 1 / m, and the upward W_i
  // zero. near_identity, as AdapterHub: R_i with deviation 0.0001, or 0.01 where they are not
  // shared.
  template <class Map>
  static void begin(Map& of, adapter_init init, bool last, random_stream& random) {
    const bool exact = init == adapter_init::identity;
    const double rule = exact ? 1 / static_cast<double>(of.rules()) : SharedRule ? 1e-4 : 0.01;
    for (auto* p : {&of.rule.whole, &of.rule.left, &of.rule.right})
      normal(*p, rule, random);
    const auto& w = of.weight;
    normal(w.whole, exact && last ? 0 : glorot(w.rows, w.cols), random);
    normal(w.left, glorot(w.rows, w.rank), random);
    normal(w.right, exact && last ? 0 : glorot(w.rank, w.cols), random);
    normal(of.bias, 0, random);
  }

 private:
  template <class Map>
  Map make(index_t in, index_t out) const {
    return Map(in, out, dim, factorized_rule ? 1 : 0, factorized_weight ? rank : 0, bias);
  }
  static double glorot(index_t in, index_t out) {
    return std::sqrt(2 / static_cast<double>(in + out));
  }
  static void normal(typename B::parameter p, double deviation, random_stream& random) {
    set_values<B>(p, [&] { return deviation * random.normal(); });
  }
};

}  // namespace graft
