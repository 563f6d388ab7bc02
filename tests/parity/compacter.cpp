// SPDX-License-Identifier: MIT
// Compacter against AdapterHub.
#include <graft/tuning/compacter.hpp>
#include <graft/tuning/recipe.hpp>
#include <graft/tuning/strategies.hpp>

#include "support/adapter_places.hpp"
#include "support/adapterhub_names.hpp"
#include "support/catch.hpp"
#include "support/golden.hpp"

namespace graft_test {

namespace {

constexpr compacter phm{.width = 6, .dim = 2, .activation = activation::relu};
constexpr compacter whole() {
  compacter c = phm;
  c.factorized_weight = c.shared_rule = false;
  return c;
}
constexpr compacter of_rank_one_rules() {
  compacter c = phm;
  c.factorized_rule = true;
  return c;
}
constexpr compacter of_shared_weights() {
  compacter c = phm;
  c.width = 8;
  c.rank = 2;
  c.shared_weight = true;
  return c;
}

// AdapterHub calls the biases of these matrices b, and the golden's weight decay spares what is
// called bias.
template <class T>
void check_compacter(const std::string& name, const decoration_numbers& numbers = {}) {
  INFO(name);
  golden peer("bert", name);
  auto model = bert_classifier<cpu<double>, T>::load(golden_path("bert"), {.numbers = numbers});
  for (segment& s : model.parameters.segments)
    if (compacter_name(s.path).ends_with(".b"))
      s.decays = true;
  check_parity(model, peer, golden_batch(peer, model.config), compacter_name);
}

}  // namespace

TEST_CASE("Compacter computes and learns what AdapterHub's does") {
  check_compacter<strategies::compacter>("compacter", {{"width", 6}, {"dim", 2}});
  check_compacter<strategies::compacter_plus>("compacter_plus", with_width(8));
}

TEST_CASE("sums of Kronecker products compute and learn what AdapterHub's do") {
  check_compacter<in_joins<whole()>>("phm");
  check_compacter<in_joins<of_rank_one_rules()>>("phm_factorized_rule");
  check_compacter<in_joins<of_shared_weights()>>("phm_shared_w");
}

}  // namespace graft_test
