// SPDX-License-Identifier: MIT
// The decoration `lora`: what a recipe says of a low-rank update.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/layer.hpp>
#include <graft/core/numbers.hpp>
#include <graft/core/site.hpp>

#include <cmath>
#include <limits>
#include <string>
#include <string_view>

namespace graft {

// A size that a file or a run-time option decides.
inline constexpr int dynamic = std::numeric_limits<int>::min();

namespace at {
struct lora_a_t {
  static constexpr std::string_view name = "lora.a";
  static constexpr bool decays = true;
};
struct lora_b_t {
  static constexpr std::string_view name = "lora.b";
  static constexpr bool decays = true;
};
struct lora_bias_t {
  static constexpr std::string_view name = "lora.bias";
  static constexpr bool decays = false;
};
struct lora_gate_t {
  static constexpr std::string_view name = "lora.gate";
};
inline constexpr lora_a_t lora_a{};
inline constexpr lora_b_t lora_b{};
inline constexpr lora_bias_t lora_bias{};
inline constexpr lora_gate_t lora_gate{};
}  // namespace at

// What the update is multiplied with: α / r (Hu et al. 2021), or α / √r (rsLoRA, Kalajdzievski 2023,
// arXiv:2312.03732).
enum class lora_scaling : unsigned char { over_rank, over_root };

constexpr std::string_view name_of(lora_scaling s) {
  return s == lora_scaling::over_rank ? "alpha/rank" : "alpha/sqrt(rank)";
}
inline double factor_of(lora_scaling s, double alpha, index_t rank) {
  const double r = static_cast<double>(rank);
  return alpha / (s == lora_scaling::over_rank ? r : std::sqrt(r));
}

// The number "over_root" of a decoration says which, as 0 or 1.
inline lora_scaling scaling_from(const decoration_numbers& n, lora_scaling otherwise) {
  const auto root = n.find("over_root");
  if (!root)
    return otherwise;
  if (*root != 0 && *root != 1)
    throw input_error("over_root: expected 0 or 1, found " + std::to_string(*root));
  return *root == 1 ? lora_scaling::over_root : lora_scaling::over_rank;
}

// How A and B start.
//   zero    A uniform in ±1/√in, B zero: a fresh layer computes exactly the base (Hu et al. 2021)
//   pissa   the r greatest singular values and vectors of W (Meng et al. 2024, arXiv:2404.02948)
//   olora   the first r columns of Q and rows of R of W = Q R (Büyükakyüz 2024, arXiv:2406.01775)
// The last two leave the rest of W in the base; a file holds the plain LoRA of twice the rank that does
// the same to W itself.
enum class lora_init : unsigned char { zero, pissa, olora };

constexpr std::string_view name_of(lora_init i) {
  switch (i) {
    case lora_init::zero: return "zero";
    case lora_init::pissa: return "pissa";
    case lora_init::olora: return "olora";
  }
  return "?";
}

// What of a low-rank update is structure beside its rank.
struct lora_form {
  bool train_a = true;
  lora_init init = lora_init::zero;
  bool gating = false;
  bool bias = false;
  friend constexpr bool operator==(lora_form, lora_form) = default;
};

template <dense_layer L, int Rank, lora_form Form>
struct lora_layer;

// What lora makes of layers that are no affine maps of rows; their headers specialise it with a `type`.
template <class L, int Rank>
struct lora_on {};

// An affine layer x Wᵀ + b that never trains its weight [out, in] and bias (which may be empty), and lets
// them be read and replaced.
template <class L>
concept frozen_affine = dense_layer<L> && !trainable<L> && requires(L& l) {
  l.weight = typename L::backend_type::frozen_weight();
  l.bias = typename L::backend_type::frozen_weight();
};

// | option     | meaning                                                            | default   |
// | rank       | r, at least 1, or `dynamic`: then `start_rank` until a file says   | 8         |
// | alpha      | α                                                                  | 16        |
// | dropout    | rate on the branch's input while training                          | 0         |
// | scaling    | α / r or α / √r                                                    | over_rank |
// | start_rank | r of a dynamic rank; 0: nothing is there until a file has something | 8         |
// | train_a    | false: A stays as it started and x is not kept (LoRA-FA, Zhang et al. 2023, arXiv:2308.03303) | true |
// | b_rate     | B's learning rate in units of A's (LoRA+, Hayou et al. 2024, arXiv:2402.12354) | 1 |
// | init       | how A and B start                                                  | zero      |
// | gating      | a gate (adapter_gate.hpp) in place of α / r (UniPELT, Mao et al. 2022, arXiv:2110.07577) | false |
// | bias       | s · c is added too, c [1, out] trained from zero (PEFT's lora_bias) | false |
struct lora {
  int rank = 8;
  float alpha = 16;
  float dropout = 0;
  lora_scaling scaling = lora_scaling::over_rank;
  int start_rank = 8;
  bool train_a = true;
  float b_rate = 1;
  lora_init init = lora_init::zero;
  bool gating = false;
  bool bias = false;

  static constexpr std::string_view name = "lora";

  constexpr void check() const {
    if (rank < 1 && rank != dynamic)
      throw "graft: lora.rank must be at least 1 (or graft::dynamic)";
    if (start_rank < 0)
      throw "graft: lora.start_rank must be at least 0 (0: nothing until a file has something)";
    if (!(dropout >= 0 && dropout < 1))
      throw "graft: lora.dropout must be at least 0 and below 1";
    if (!(b_rate > 0))
      throw "graft: lora.b_rate must be above 0";
    if (gating && init != lora_init::zero)
      throw "graft: lora.gating must be false with init pissa or olora: a gate is never a constant";
    if (init != lora_init::zero && rank == dynamic && start_rank == 0)
      throw "graft: lora.start_rank must be at least 1 with init pissa or olora";
    if (!train_a && init != lora_init::zero)
      throw "graft: lora.train_a must be true with init pissa or olora: a file holds what was made of A";
    if (bias && (gating || init != lora_init::zero))
      throw "graft: lora.bias goes with neither gating nor init pissa or olora";
    if (init != lora_init::zero && rank != dynamic)
      throw "graft: lora.rank must be graft::dynamic with init pissa or olora (set start_rank): the "
            "saved rank is twice as large";
  }
  constexpr bool row_by_row() const { return !gating; }
  template <class F>
  constexpr void describe(F&& f) const {
    f("rank", first_rank());
    f("alpha", alpha);
    f("dropout", dropout);
    f("scaling", name_of(scaling));
    f("train_a", train_a);
    f("b_rate", b_rate);
    f("init", name_of(init));
    f("gating", gating);
    f("bias", bias);
  }
  constexpr int first_rank() const { return rank == dynamic ? start_rank : rank; }
  // May it be empty?
  constexpr bool optional() const { return rank == dynamic && start_rank == 0; }
  constexpr lora_form form() const { return {train_a, init, gating, bias}; }

  constexpr bool plain() const { return form() == lora_form{}; }

  // lora goes around affine layers (an init that changes the weight, around frozen ones) and, in its plain
  // form, around tables and convolutions.
  template <class L, class Site, auto Spec>
  static constexpr bool fits = [] {
    if constexpr (requires { typename lora_on<L, Spec.rank>::type; })
      return Spec.plain();
    else if constexpr (requires { requires L::affine; })
      return dense_layer<L> && (Spec.init == lora_init::zero || frozen_affine<L>);
    else
      return false;
  }();
  template <class Site, auto Spec>
  static constexpr bool merges = !Spec.gating;
  template <class L, class Site, auto Spec>
  struct misfit {
    static constexpr bool form = requires { typename lora_on<L, Spec.rank>::type; };
    static constexpr bool join = join_layer<L>;
    static constexpr bool adapted = requires { typename L::branch; };
    static constexpr bool weight = dense_layer<L>;
    static constexpr bool other = !form && !join && !adapted && !weight;
    static_assert(!form,
                  "graft: lora on a table or a convolution takes no train_a, init, gating or bias");
    static_assert(!join,
                  "graft: lora needs an affine layer, and this site is a join (a bottleneck with "
                  "placement::after goes there)");
    static_assert(!adapted,
                  "graft: lora needs an affine layer, and a bottleneck is wrapped around this one "
                  "(put the lora rule before the bottleneck rule)");
    static_assert(!weight,
                  "graft: lora.init pissa and olora change the weight of a frozen linear layer, and "
                  "this one is trained or decorated already");
    static_assert(!other,
                  "graft: lora needs an affine layer, and none stands at this site (at::linear "
                  "selects them all)");
  };
  template <class L, auto Spec>
  struct choose {
    using type = typename lora_on<L, Spec.rank>::type;
  };
  template <dense_layer L, auto Spec>
  struct choose<L, Spec> {
    using type = lora_layer<L, Spec.rank, Spec.form()>;
  };
  template <class L, auto Spec>
  using apply = typename choose<L, Spec>::type;
};

}  // namespace graft
