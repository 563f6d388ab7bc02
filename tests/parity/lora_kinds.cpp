// SPDX-License-Identifier: MIT
// The relatives of LoRA against PEFT.
#include <graft/tuning/dora.hpp>
#include <graft/tuning/strategies.hpp>

#include "support/catch.hpp"
#include "support/golden.hpp"
#include "support/gradient_check.hpp"

namespace graft_test {

namespace {

using B = cpu<double>;

struct a_frozen {
  static constexpr recipe rules{
      on(at::query | at::value, lora{.rank = 4, .alpha = 8, .train_a = false}),
      on(at::head, train{})};
};
struct two_rates {
  static constexpr recipe rules{
      on(at::query | at::value, lora{.rank = 4, .alpha = 8, .b_rate = 16}),
      on(at::head, train{})};
};
struct two_ranks {
  static constexpr recipe rules{on(at::query, lora{.rank = 4, .alpha = 8}),
                                on(at::value, lora{.rank = 2, .alpha = 16}),
                                on(at::head, train{})};
};
struct directions {
  static constexpr recipe rules{on(at::query | at::value, dora{.rank = 4, .alpha = 8}),
                                on(at::head, train{})};
};
struct from_singular_vectors {
  static constexpr recipe rules{
      on(at::query | at::value,
         lora{.rank = dynamic, .alpha = 8, .start_rank = 4, .init = lora_init::pissa}),
      on(at::head, train{})};
};
struct from_orthogonal_columns {
  static constexpr recipe rules{
      on(at::query | at::value,
         lora{.rank = dynamic, .alpha = 8, .start_rank = 4, .init = lora_init::olora}),
      on(at::head, train{})};
};
struct norms {
  static constexpr recipe rules{on(at::norm, train{}), on(at::head, train{})};
};

std::vector<double> product(const std::vector<double>& b, const std::vector<double>& a,
                            std::size_t rank) {
  const std::size_t rows = b.size() / rank, cols = a.size() / rank;
  std::vector<double> ba(rows * cols, 0.0);
  for (std::size_t i = 0; i < rows; ++i)
    for (std::size_t k = 0; k < rank; ++k)
      for (std::size_t j = 0; j < cols; ++j)
        ba[i * cols + j] += b[i * rank + k] * a[k * cols + j];
  return ba;
}

// PEFT decomposes in single precision: its start is ours to that, and from its own start training is
// the same to the last digit.
template <class T>
void check_taken(const std::string& method) {
  INFO(method);
  golden peer("bert", method);
  auto model = bert_classifier<B, T>::load(golden_path("bert"), {});
  std::map<std::string, std::vector<double>> plain;
  int layers = 0;
  for_each_layer(model.network, [&](const std::string& path, auto& layer) {
    if constexpr (requires { layer.taken; }) {
      ++layers;
      INFO(path);
      const std::string weight = checkpoint_name(bert_family::bert, path + ".weight").value();
      const std::string name = weight.substr(0, weight.size() - std::string("weight").size());
      const auto a = peer.values("init." + name + "lora_A.weight"),
                 b = peer.values("init." + name + "lora_B.weight"),
                 base = peer.values("base." + weight);
      CHECK(relative_error(product(values_of<double>(layer.b), values_of<double>(layer.a), 4),
                           product(b, a, 4)) < 1e-5);
      CHECK(relative_error(values_of<const double>(layer.base.weight), base) < 1e-5);

      B::parameter given(layer.out(), layer.in());
      std::copy(base.begin(), base.end(), given.data);
      layer.base.weight = given;
      std::copy(a.begin(), a.end(), layer.taken.a.data);
      std::copy(b.begin(), b.end(), layer.taken.b.data);
      plain[path + ".lora.a"] = peer.values("plain." + name + "lora_A.weight");
      plain[path + ".lora.b"] = peer.values("plain." + name + "lora_B.weight");
    }
  });
  CHECK(layers == 6);
  check_parity(model, peer, golden_batch(peer, model.config));

  for_each_layer(model.network, [&](const std::string& path, auto& layer) {
    if constexpr (requires { layer.taken; }) {
      CHECK(layer.saved_numbers().find("rank") == 8);
      CHECK(layer.saved_numbers().find("alpha") == 16);
      layer.saved_parts([&](auto tag, const B::parameter& p) {
        const std::string name = path + "." + std::string(tag.name);
        INFO(name);
        CHECK(relative_error(values_of<double>(p), plain.at(name)) < 1e-8);
      });
    }
  });
}

}  // namespace

TEST_CASE("LoRA with a frozen A learns what PEFT's does") {
  check_classifier<B, a_frozen>("bert", "lora_fa");
}

TEST_CASE("LoRA+ learns what PEFT's does") {
  golden peer("bert", "lora_plus");
  auto model = bert_classifier<B, two_rates>::load(golden_path("bert"), {});
  for (segment& s : model.parameters.segments)
    if (s.path == "head.classifier.bias")
      s.rate_factor = 16;  // PEFT counts every vector among the B's
  check_parity(model, peer, golden_batch(peer, model.config));
}

TEST_CASE("LoRA of several ranks learns what PEFT's does") {
  check_classifier<B, two_ranks>("bert", "lora_patterns");
}

TEST_CASE("DoRA learns what PEFT's does") {
  check_classifier<B, directions>("bert", "dora", {},
                                  endings(bert_family::bert,
                                          {{"dora.a", "lora_A.weight"},
                                           {"dora.b", "lora_B.weight"},
                                           {"dora.magnitude", "lora_magnitude_vector.weight"}}));
}

TEST_CASE("LoRA that starts from the weight's own factors learns what PEFT's does") {
  check_taken<from_singular_vectors>("pissa");
  check_taken<from_orthogonal_columns>("olora");
}

TEST_CASE("norm tuning learns what PyTorch's does") { check_classifier<B, norms>("bert", "norms"); }

}  // namespace graft_test
