// SPDX-License-Identifier: MIT
// tuning/describe.hpp
#include <graft/backend/cpu.hpp>
#include <graft/layer/layer_norm.hpp>
#include <graft/layer/linear.hpp>
#include <graft/tuning/describe.hpp>
#include <graft/tuning/frozen.hpp>
#include <graft/tuning/lora.hpp>

#include <string>
#include <vector>

#include "support/catch.hpp"

namespace graft_test::describe_tests {

namespace {

using namespace graft;
using B = cpu<float>;

// Two equal blocks and a norm; nothing is computed here.
struct block {
  using backend_type = B;
  lora_layer<frozen<linear<B>>, 2> query{frozen(linear<B>(10, 6)), lora{.rank = 2}};
  frozen<linear<B>> output{linear<B>(6, 4, false)};

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::query, z.query...);
    f(at::attention_output, z.output...);
  }
  struct gradient {
    gradient_t<lora_layer<frozen<linear<B>>, 2>> query;
    nothing output;
  };
};
struct numbered {
  std::string name;
};
struct network {
  using backend_type = B;
  std::vector<block> blocks{2};
  biases_only<layer_norm<B>> norm{layer_norm<B>(4)};

  template <class F, class First, class... Z>
  static void parts(F&& f, First&& first, Z&&... z) {
    for (std::size_t i = 0; i < first.blocks.size(); ++i)
      f(numbered{"layer." + std::to_string(i)}, first.blocks[i], z.blocks[i]...);
    f(at::embedding_norm, first.norm, z.norm...);
  }
  struct gradient {
    std::vector<block::gradient> blocks;
    layer_norm<B>::bias_gradient norm;
  };
  void shape(gradient& g) const { g.blocks.resize(blocks.size()); }
};
struct whole {
  struct network network;
};

}  // namespace

TEST_CASE("parameters are counted by site, equal layers together") {
  const network n;
  const parameter_count count = count_parameters(n);
  REQUIRE(count.sites.size() == 4);
  const auto is = [&](std::size_t i, const char* site, int total, int trained) {
    INFO(count.sites[i].site);
    CHECK(count.sites[i].site == site);
    CHECK(count.sites[i].total == total);
    CHECK(count.sites[i].trained == trained);
  };
  is(0, "layer.*.query", 2 * 66, 0);
  is(1, "layer.*.query.lora", 2 * 32, 2 * 32);
  is(2, "layer.*.output", 2 * 24, 0);
  is(3, "norm", 8, 4);
  CHECK(count.total == 252);
  CHECK(count.trained == 68);
  CHECK(count.share() == Approx(68.0 / 252));
  CHECK(parameter_count{}.share() == 0);
}

TEST_CASE("a description is a table of the counts") {
  CHECK(describe(whole{}) ==
        "site                  parameters     trained\n"
        "layer.*.query                132           -\n"
        "layer.*.query.lora            64          64\n"
        "layer.*.output                48           -\n"
        "norm                           8           4\n"
        "total                        252          68\n"
        "trained: 26.984 %\n");
}

}  // namespace graft_test::describe_tests
