// SPDX-License-Identifier: MIT
// Edited representations against AdapterHub, and in a file.
#include <graft/io/adapter.hpp>
#include <graft/tuning/strategies.hpp>

#include "support/catch.hpp"
#include "support/golden.hpp"
#include "support/gradient_check.hpp"
#include "support/scratch_folder.hpp"

namespace graft_test {

namespace {

struct loreft {
  static constexpr recipe rules{on(at::layer, reft{.rank = 2, .prefix = 3, .suffix = 2}),
                                on(at::head, train{})};
};
struct noreft {
  static constexpr recipe rules{
      on(at::layer, reft{.rank = 2, .prefix = 3, .suffix = 2, .kind = reft_kind::noreft}),
      on(at::head, train{})};
};
struct direft {
  static constexpr recipe rules{
      on(at::layer, reft{.rank = 2, .prefix = 3, .suffix = 2, .kind = reft_kind::direft}),
      on(at::head, train{})};
};

// "layer.N.reft.first." -> "bert.encoder.layer.N.reft_layer.refts.a.units.0."
std::string peer_unit(const std::string& path, std::size_t reft) {
  return "bert.encoder." + path.substr(0, reft) + "reft_layer.refts.a.units." +
         (path.find("reft.first") != std::string::npos ? "0." : "1.");
}
std::string peer_reft(const std::string& path) {
  const std::size_t reft = path.find("reft.");
  if (reft == std::string::npos)
    return {};
  const std::string unit = peer_unit(path, reft);
  if (path.ends_with("source.weight"))
    return unit + "learned_source.weight";
  if (path.ends_with("source.bias"))
    return unit + "learned_source.bias";
  if (path.ends_with("projection.reflections"))
    return unit + "projection.parametrizations.weight.original";
  if (path.ends_with("projection.rows"))
    return unit + "projection.weight";
  return "given by another name";
}

// Reflections whose product is the orthogonal matrix z [width, width].
template <class B>
typename B::frozen_weight reflections_of(std::vector<double> z, std::size_t width) {
  std::vector<double> found;
  for (std::size_t i = 0; i < width; ++i) {
    std::vector<double> v(width, 0.0);  // takes what is left of column i to axis i
    double square = 0;
    for (std::size_t j = i; j < width; ++j) {
      v[j] = z[j * width + i] - (i == j ? 1 : 0);
      square += v[j] * v[j];
    }
    if (square < 1e-12)
      continue;
    found.insert(found.end(), v.begin(), v.end());
    for (std::size_t c = 0; c < width; ++c) {
      double dot = 0;
      for (std::size_t j = 0; j < width; ++j)
        dot += v[j] * z[j * width + c];
      for (std::size_t j = 0; j < width; ++j)
        z[j * width + c] -= 2 * dot / square * v[j];
    }
  }
  typename B::parameter p(static_cast<index_t>(found.size() / width), static_cast<index_t>(width));
  std::transform(found.begin(), found.end(), p.data,
                 [](double v) { return static_cast<typename B::scalar>(v); });
  return p;
}

template <class B, class T>
void check_reft(const std::string& method, int expected_frames) {
  INFO(method);
  golden peer("bert", method);
  auto model = bert_classifier<B, T>::load(golden_path("bert"), {});
  int frames = 0;
  for_each_layer(model.network, [&](const std::string& path, auto& part) {
    if constexpr (requires { part.frame; }) {
      const std::string base =
          peer_unit(path, path.find("reft.")) + "projection.parametrizations.weight.0.base";
      part.frame = reflections_of<B>(peer.values("init." + base), 16);
      ++frames;
    }
  });
  CHECK(frames == expected_frames);
  check_parity(model, peer, golden_batch(peer, model.config), peer_reft);
}

}  // namespace

TEMPLATE_TEST_CASE("LoReFT computes and learns what AdapterHub's does", "", cpu<double>,
                   cpu<float>) {
  check_reft<TestType, loreft>("loreft", 3 * 2);
}

TEST_CASE("NoReFT and DiReFT compute and learn what AdapterHub's do") {
  check_reft<cpu<double>, noreft>("noreft", 0);
  check_reft<cpu<double>, direft>("direft", 0);
}

TEST_CASE("a file of LoReFT holds what was trained; its frames come of the model's seed") {
  using B = cpu<float>;
  const scratch_folder folder;
  const std::string base = golden_path("bert");
  auto model = bert_classifier<B, strategies::loreft>::load(
      base, {.seed = 5, .numbers = {{"rank", 3}, {"suffix", 1}}});
  for (segment& s : model.parameters.segments)
    for (index_t i = s.offset; i < s.offset + s.size(); ++i)
      model.parameters.values.data[i] += 0.01f * static_cast<float>(i % 50);
  save_adapter(model, folder / "adapter", identify_base(base));
  CHECK(safetensors_file::open(folder / "adapter/graft_adapter.safetensors").entries().size() ==
        3 * 2 * 3 + 2);

  const auto again = load_with_adapter<B, strategies::loreft>(base, folder / "adapter");
  golden peer("bert", "loreft");
  const token_batch batch = golden_batch(peer, model.config);
  B::workspace memory;
  const context<B> k{memory, batch.rows};
  CHECK(values_of(again.predict(batch, k)) == values_of(model.predict(batch, k)));
}

}  // namespace graft_test
