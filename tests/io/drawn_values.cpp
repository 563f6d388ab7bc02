// SPDX-License-Identifier: MIT
// io/drawn_values.hpp
#include <graft/io/adapter.hpp>
#include <graft/io/drawn_values.hpp>
#include <graft/io/merge_adapter.hpp>
#include <graft/io/peft.hpp>
#include <graft/tuning/strategies.hpp>

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/golden.hpp"
#include "support/gradient_check.hpp"
#include "support/scratch_folder.hpp"

namespace graft_test::drawn_values_tests {

namespace {

using B = cpu<double>;
using Catch::Matchers::Contains;

template <class T>
bert_classifier<B, T> trained(std::uint64_t seed) {
  auto model =
      bert_classifier<B, T>::load(golden_path("bert"), {.seed = seed, .numbers = {{"rank", 3}}});
  random_stream random(11);
  for (index_t i = 0; i < model.parameters.values.size(); ++i)
    model.parameters.values.data[i] += 0.1 * random.normal();
  return model;
}

std::vector<double> merged_logits(const adapter_data& a) {
  auto plain = load_base_for<B, untuned>(golden_path("bert"), a);
  merge_adapter(plain, a);
  return golden_logits(plain);
}

bool near(const std::vector<double>& a, const std::vector<double>& b) {
  return error_of(std::span<const double>(a), b) < 1e-12;
}

std::map<std::string, map_size> sizes_of_base() {
  const auto plain = load_classifier<B, untuned>(golden_path("bert"));
  return map_sizes(list_parts(plain.network));
}

}  // namespace

TEMPLATE_TEST_CASE("what a file leaves to a seed is drawn again", "", strategies::lora_fa,
                   strategies::vera) {
  const auto model = trained<TestType>(5);
  const auto logits = golden_logits(model);
  const scratch_folder folder;
  save_adapter(model, folder / "adapter", identify_base(golden_path("bert")));
  const adapter_data told = read_adapter(folder / "adapter");
  const adapter_data whole = with_drawn<B>(told, sizes_of_base());
  const adapter_data held = data_of(model, {.drawn = true});
  REQUIRE(whole.tensors.size() > told.tensors.size());
  REQUIRE(whole.tensors.size() == held.tensors.size());
  CHECK(whole.departed == held.departed);
  for (const auto& [path, matrix] : held.tensors) {
    INFO(path);
    REQUIRE(whole.tensors.contains(path));
    CHECK(values_of<double>(whole.tensors.at(path)) == values_of<double>(matrix));
  }

  CHECK(near(merged_logits(told), logits));
  CHECK(near(merged_logits(whole), logits));
  auto other = trained<TestType>(6);
  put_adapter(other, whole);
  CHECK(near(golden_logits(other), logits));

  save_peft(model, folder / "peft");
  CHECK(near(merged_logits(read_any_adapter(folder / "peft", model.config)), logits));
  CHECK_THROWS_WITH(write_peft(told, hugging_face_names(model.config), folder / "none"),
                    Contains("found none"));
}

TEST_CASE("only what lacks values gets them, and VeRA has one pair of matrices") {
  const auto sizes = sizes_of_base();
  adapter_data a = data_of(trained<strategies::lora_fa>(5), {.drawn = true});
  const std::string path = "layer.0.attention.query.lora.a";
  a.tensors[path] = stored(3, 16, std::vector<double>(48, 0.5));
  CHECK(values_of<double>(with_drawn<B>(a, sizes).tensors.at(path)) == std::vector<double>(48, 0.5));
  a.tensors.erase(path);
  CHECK(!with_drawn<B>(a, {}).tensors.contains(path));
  a.decorations["layer.0.attention.query"]["lora"].numbers.set("rank", 5000);
  CHECK_THROWS_WITH(with_drawn<B>(a, sizes), Contains("lora.rank: expected a size"));

  a = data_of(trained<strategies::vera>(5));
  a.source = "somewhere.json";
  a.decorations["layer.1.attention.query"]["vera"].numbers.set("projection_seed", 4);
  CHECK_THROWS_WITH(with_drawn<B>(a, sizes), Contains("somewhere.json: layer.1.attention.") &&
                                                 Contains("vera.projection_seed: expected one"));
}

}  // namespace graft_test::drawn_values_tests
