// SPDX-License-Identifier: MIT
// Where a bottleneck stands, how it lies in a join and in which layers, against AdapterHub.
#include <graft/tuning/bottleneck.hpp>
#include <graft/tuning/recipe.hpp>
#include <graft/tuning/strategies.hpp>

#include "support/adapter_places.hpp"
#include "support/adapterhub_names.hpp"
#include "support/catch.hpp"
#include "support/golden.hpp"

namespace graft_test {

namespace {

using enum adapter_residual;

// Adapters after the attention alone, once as AdapterHub writes it.
struct after_attention {
  static constexpr recipe rules{
      on(at::attention_join, bottleneck{.width = 6, .original_ln_before = false}),
      on(at::head, train{})};
};
struct all_but_lowest {
  static constexpr recipe rules{
      on(at::attention | at::feed_forward, bottleneck{.width = 6, .activation = activation::silu},
         above(1)),
      on(at::head, train{})};
};
struct widths_by_layer {
  static constexpr recipe rules{on(at::feed_forward_join, bottleneck{.width = 4}, bottom(1)),
                                on(at::feed_forward_join, bottleneck{.width = 6}, between(1, 2)),
                                on(at::feed_forward_join, bottleneck{.width = 8}, above(2)),
                                on(at::head, train{})};
};

template <class T>
void check_places(const std::string& name, const decoration_numbers& numbers = {}) {
  check_classifier<cpu<double>, T>("bert", name, numbers,
                                   [](const std::string& path) { return adapterhub_name(path); });
}

}  // namespace

TEST_CASE(
    "a bottleneck without one of the original norms computes and learns what AdapterHub's does") {
  check_places<in_joins<bottleneck{.width = 6, .original_ln_after = false}>>(
      "bn_original_ln_before_only");
  check_places<
      in_joins<bottleneck{.width = 6, .original_ln_before = false, .original_ln_after = false}>>(
      "bn_no_original_ln");
  check_places<after_attention>("bn_mh_only");
}

TEST_CASE("the residuals of a bottleneck compute and learn what AdapterHub's do") {
  check_places<in_joins<bottleneck{.width = 6, .residual = input}>>("bn_residual_input");
  check_places<in_joins<bottleneck{.width = 6, .residual = post_add}>>("bn_post_add");
  check_places<in_joins<bottleneck{.width = 6, .original_ln_after = false, .residual = post_add}>>(
      "bn_post_add_only");
}

TEST_CASE("AdapterPlus computes and learns what AdapterHub's does") {
  check_places<strategies::adapter_plus>("adapter_plus", with_width(6));
}

TEST_CASE("parallel adapters beside both sub-layers compute and learn what AdapterHub's do") {
  check_places<beside_both>("parallel_mh");
}

TEST_CASE(
    "adapters in some layers, and of different widths, compute and learn what AdapterHub's do") {
  check_places<all_but_lowest>("bn_leave_out");
  check_places<widths_by_layer>("bn_reduction_map");
}

}  // namespace graft_test
