// SPDX-License-Identifier: MIT
// The parts that an adapter may have, against AdapterHub.
#include <graft/tuning/bottleneck.hpp>
#include <graft/tuning/recipe.hpp>

#include "support/adapter_places.hpp"
#include "support/adapterhub_names.hpp"
#include "support/catch.hpp"
#include "support/golden.hpp"

namespace graft_test {

namespace {

using enum adapter_scaling;

// … beside every feed-forward sub-layer.
template <auto What>
struct beside {
  static constexpr recipe rules{on(at::feed_forward, What), on(at::head, train{})};
};
constexpr bottleneck parallel_with(bottleneck what) {
  what.place = placement::parallel;
  what.scale = what.scaling == fixed ? 4 : 1;
  return what;
}

template <class T>
void check_parts(const std::string& name, bool ln_before = false) {
  check_classifier<cpu<double>, T>(
      "bert", name, {}, [=](const std::string& path) { return adapterhub_name(path, ln_before); });
}

}  // namespace

TEST_CASE("norms in an adapter compute and learn what AdapterHub's do") {
  check_parts<in_joins<bottleneck{.width = 6, .ln_before = true}>>("bn_ln_before", true);
  check_parts<in_joins<bottleneck{.width = 6, .ln_after = true}>>("bn_ln_after");
  check_parts<
      in_joins<bottleneck{.width = 6, .ln_after = true, .adapter_residual_before_ln = true}>>(
      "bn_adapter_residual_before_ln");
}

TEST_CASE("trained scales compute and learn what AdapterHub's do") {
  check_parts<in_joins<bottleneck{.width = 6, .scaling = learned}>>("bn_learned_scale");
  check_parts<in_joins<bottleneck{.width = 6, .scaling = channel}>>("bn_channel_scale");
}

TEST_CASE("a gate computes and learns what AdapterHub's does for sequences without padding") {
  check_parts<in_joins<bottleneck{.width = 6, .gating = true}>>("bn_gated");
}

TEST_CASE("activations of an adapter compute and learn what AdapterHub's do") {
  check_parts<in_joins<bottleneck{.width = 6, .activation = activation::tanh}>>("bn_tanh");
  check_parts<in_joins<bottleneck{.width = 6, .activation = activation::identity}>>("bn_identity");
}

// AdapterHub's parallel adapter adds to what meets the residual: it stands beside the sub-layer,
// and its ln_after takes no residual in.
TEST_CASE("parts of a parallel adapter compute and learn what AdapterHub's do") {
  check_parts<beside<parallel_with({.width = 6, .scaling = learned})>>("scaled_parallel");
  check_parts<beside<parallel_with({.width = 6, .gating = true})>>("parallel_gated");
  check_parts<beside<parallel_with({.width = 6, .ln_after = true})>>("parallel_ln_after");
}

}  // namespace graft_test
