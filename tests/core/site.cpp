// SPDX-License-Identifier: MIT
#include <graft/core/site.hpp>

#include "support/catch.hpp"

#include <type_traits>

// Said before any using-directive.
constexpr auto three_projections = graft::at::query | graft::at::value | graft::at::key;

using namespace graft;

namespace {

template <class Where, class Site>
constexpr bool selects(Where, Site) {
  return Where::template selects<Site>;
}
template <class A>
constexpr selection<A> only(A) {
  return {};
}

}  // namespace

TEST_CASE("a tag selects itself and nothing beside it") {
  STATIC_REQUIRE(selects(only(at::query), at::query));
  STATIC_REQUIRE(!selects(only(at::query), at::key));
  STATIC_REQUIRE(!selects(only(at::query), at::projection));
}

TEST_CASE("a family selects its members") {
  STATIC_REQUIRE(selects(only(at::projection), at::query));
  STATIC_REQUIRE(selects(only(at::projection), at::attention_output));
  STATIC_REQUIRE(!selects(only(at::projection), at::feed_forward_input));
  STATIC_REQUIRE(selects(only(at::linear), at::feed_forward_output));
  STATIC_REQUIRE(selects(only(at::linear), at::value));
  STATIC_REQUIRE(!selects(only(at::linear), at::classifier));
  STATIC_REQUIRE(selects(only(at::norm), at::embedding_norm));
  STATIC_REQUIRE(selects(only(at::join), at::feed_forward_join));
  STATIC_REQUIRE(!selects(only(at::join), at::attention_norm));
  STATIC_REQUIRE(selects(only(at::embedding_table), at::word));
}

TEST_CASE("everything selects every site") {
  constexpr auto all = only(at::everything);
  STATIC_REQUIRE(selects(all, at::query));
  STATIC_REQUIRE(selects(all, at::word));
  STATIC_REQUIRE(selects(all, at::head));
  STATIC_REQUIRE(selects(all, at::layer));
  STATIC_REQUIRE(selects(all, at::attention_join));
}

TEST_CASE("sites are combined wherever they are named") {
  STATIC_REQUIRE(selects(three_projections, at::key));
  STATIC_REQUIRE(!selects(three_projections, at::attention_output));
}

TEST_CASE("a bar selects what either side does, in the order written") {
  constexpr auto two = at::query | at::join;
  STATIC_REQUIRE(selects(two, at::query));
  STATIC_REQUIRE(selects(two, at::attention_join));
  STATIC_REQUIRE(!selects(two, at::key));
  constexpr auto three = at::query | at::key | at::word;
  STATIC_REQUIRE(selects(three, at::key));
  STATIC_REQUIRE(selects(three, at::word));
  STATIC_REQUIRE(std::is_same_v<std::remove_const_t<decltype(three)>,
                                selection<at::query_t, at::key_t, at::word_t>>);
}

TEST_CASE("parts that are no sites cannot be selected") {
  STATIC_REQUIRE(site<at::query_t>);
  STATIC_REQUIRE(!site<at::weight_t>);
  STATIC_REQUIRE(!site<at::base_t>);
  STATIC_REQUIRE(!site<int>);
}

TEST_CASE("places inside one sub-layer have different names") {
  CHECK(at::query.name != at::key.name);
  CHECK(at::value.name != at::attention_output.name);
  CHECK(at::feed_forward_input.name != at::feed_forward_output.name);
  CHECK(at::word.name != at::position.name);
}

TEST_CASE("weights decay; biases and norms do not") {
  CHECK(at::weight.decays);
  CHECK_FALSE(at::bias.decays);
  CHECK_FALSE(at::norm_weight.decays);
}
