// SPDX-License-Identifier: MIT
#include <graft/core/activation.hpp>

#include "support/catch.hpp"

#include <string>

using namespace graft;

TEST_CASE("every activation is found again by its name") {
  for (activation f : {activation::identity, activation::relu, activation::gelu,
                       activation::gelu_tanh, activation::silu, activation::tanh})
    CHECK(activation_named(name_of(f)) == f);
}

TEST_CASE("the names that Hugging Face configurations use are known") {
  CHECK(activation_named("gelu") == activation::gelu);
  CHECK(activation_named("gelu_python") == activation::gelu);
  CHECK(activation_named("gelu_new") == activation::gelu_tanh);
  CHECK(activation_named("gelu_fast") == activation::gelu_tanh);
  CHECK(activation_named("gelu_pytorch_tanh") == activation::gelu_tanh);
  CHECK(activation_named("swish") == activation::silu);
  CHECK(activation_named("linear") == activation::identity);
}

TEST_CASE("an unknown activation is named together with the known ones") {
  try {
    activation_named("mish");
    FAIL("mish was accepted");
  } catch (const checkpoint_error& e) {
    CHECK(std::string(e.what()) ==
          "graft: activation \"mish\": expected relu, gelu, gelu_new, silu, tanh, sigmoid, leakyrelu "
          "or identity");
  }
  CHECK_THROWS_AS(activation_named(""), checkpoint_error);
  CHECK_THROWS_AS(activation_named("RELU"), checkpoint_error);
}
