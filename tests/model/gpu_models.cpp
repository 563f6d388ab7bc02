// SPDX-License-Identifier: MIT
// Whole models over the GPU backend: they compute, learn and travel as they do on the CPU. On an emulated
// device, or, in a program of its own, on a real one.
#include <graft/backend/cpu.hpp>
#include <graft/io/adapter.hpp>
#include <graft/io/merge_adapter.hpp>
#include <graft/io/peft.hpp>
#include <graft/io/snapshot.hpp>
#include <graft/model/merge.hpp>
#include <graft/model/regraft.hpp>
#include <graft/train/fit.hpp>
#include <graft/tuning/composition.hpp>
#include <graft/tuning/moved.hpp>
#include <graft/tuning/strategies.hpp>

#include <cmath>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/golden.hpp"
#include "support/learning.hpp"
#include "support/scratch_folder.hpp"

#ifdef GRAFT_TESTS_ON_DEVICE
#include <graft/backend/cuda.hpp>
#include <graft/backend/reference.hpp>
#define GRAFT_GPU cuda
#define GRAFT_HOST reference  // for which nothing large need be compiled
#else
#include "support/emulated_device.hpp"
#define GRAFT_GPU emulated
#define GRAFT_HOST cpu
#endif

namespace graft_test::gpu_models_tests {

using namespace learning;

namespace {

using Catch::Matchers::Contains;
using host = GRAFT_HOST<double>;

// How far from the CPU's doubles the GPU's numbers may be: a few dozen roundings. fp16 has three bits more
// than bf16, so what is rounding alone is an eighth.
template <class B>
inline constexpr double tolerance = std::is_same_v<typename B::number, bf16>   ? 4e-2
                                    : std::is_same_v<typename B::number, fp16> ? 5e-3
                                                                               : 2e-5;

// Frozen layers, low-rank updates, adapters, a prefix and a trained head, with dropout.
struct mixed {
  static constexpr recipe rules{
      on(at::query | at::value, lora{.rank = 2, .alpha = 4, .dropout = 0.1f}),
      on(at::memory, prefix{.tokens = 3}),
      on(at::feed_forward, bottleneck{.width = 3, .dropout = 0.1f}, top(2)), on(at::head, train{})};
};
struct everything {
  static constexpr recipe rules{on(at::everything, train{})};
};
struct low_rank {
  static constexpr recipe rules{on(at::query | at::value, lora{.rank = 2}), on(at::head, train{})};
};
struct over_int8 {
  static constexpr recipe rules{on(at::linear, quantize{.to = number_format::int8}),
                                on(at::query | at::value, lora{.rank = 2}), on(at::head, train{})};
};
struct fused {
  static constexpr recipe rules{
      on(at::feed_forward_join, compose::fuse{.adapters = 2, .each = {.width = 3}}),
      on(at::head, train{})};
};
// Sites elsewhere: attention with its LoRA, what stands under a bottleneck, and the head; the top layers;
// the matrices under LoRA.
struct at_home {
  static constexpr recipe rules{
      on(at::query | at::value, lora{.rank = 2, .alpha = 4, .dropout = 0.1f}),
      on(at::feed_forward, bottleneck{.width = 3, .dropout = 0.1f}, top(2)), on(at::head, train{})};
};
template <class To>
struct sites_away {
  static constexpr recipe rules{
      on(at::query | at::value, lora{.rank = 2, .alpha = 4, .dropout = 0.1f}),
      on(at::attention | at::head, moved<To>{}), on(at::feed_forward, moved<To>{}, top(1)),
      on(at::feed_forward, bottleneck{.width = 3, .dropout = 0.1f}, top(2)), on(at::head, train{})};
};
template <class To>
struct layers_away {
  static constexpr recipe rules{on(at::query | at::value, lora{.rank = 2}),
                                on(at::layer, moved<To>{}, top(2)), on(at::head, train{})};
};
template <class To>
struct matrices_away {
  static constexpr recipe rules{on(at::linear, quantize{}, top(1)), on(at::linear, moved<To>{}),
                                on(at::query | at::value, lora{.rank = 2}), on(at::head, train{})};
};

}  // namespace

TEMPLATE_TEST_CASE("a model on a GPU answers and learns as on the CPU, dropout and all", "",
                   GRAFT_GPU<float>, GRAFT_GPU<bf16>, GRAFT_GPU<fp16>) {
  using B = TestType;
  const auto data = texts(21);
  SECTION("of many methods") {
    auto model = loaded<B, mixed>();
    auto other = loaded<host, mixed>();
    CHECK(distance(trained(model), trained(other)) < 1e-7);  // drawn alike
    CHECK(distance(logits(model, data), logits(other, data)) < tolerance<B>);
    CHECK(distance(losses(model, data), losses(other, data)) < tolerance<B>);
  }
  SECTION("trained whole") {
    auto model = loaded<B, everything>();
    auto other = loaded<host, everything>();
    CHECK(distance(losses(model, data), losses(other, data)) < tolerance<B>);
  }
  SECTION("over weights of 4 bits, and of 8") {
    auto model = loaded<B, strategies::qlora>();
    auto other = loaded<host, strategies::qlora>();
    CHECK(distance(logits(model, data), logits(other, data)) < tolerance<B>);
    CHECK(distance(losses(model, data), losses(other, data)) < tolerance<B>);
    auto finer = loaded<B, over_int8>();
    auto finer_other = loaded<host, over_int8>();
    CHECK(distance(losses(finer, data), losses(finer_other, data)) < tolerance<B>);
    CHECK(merge(std::move(finer)).parameters.size() == 0);

    // Of values that are the device's alone.
    auto whole = loaded<B, everything>();
    losses(whole, data);
    auto copy = whole.template to<GRAFT_HOST<float>>();
    CHECK(distance(logits(regraft<strategies::qlora>(std::move(whole)), data),
                   logits(regraft<strategies::qlora>(std::move(copy)), data)) < tolerance<B>);
  }
}

TEMPLATE_TEST_CASE("a model learns with sites on a GPU, on the host, or on both", "", GRAFT_GPU<float>,
                   GRAFT_GPU<bf16>) {
  using B = TestType;
  using near = GRAFT_HOST<float>;
  const auto data = texts(15);
  auto other = loaded<host, at_home>();
  const auto expected = losses(other, data);
  auto there = loaded<near, sites_away<B>>();
  CHECK(distance(losses(there, data), expected) < tolerance<B>);
  auto back = loaded<B, sites_away<near>>();
  CHECK(distance(losses(back, data), expected) < tolerance<B>);
  auto finer = loaded<GRAFT_GPU<bf16>, sites_away<B>>();
  CHECK(distance(losses(finer, data), expected) < tolerance<GRAFT_GPU<bf16>>);

  auto low = loaded<host, low_rank>();
  auto layers = loaded<near, layers_away<B>>();
  CHECK(distance(losses(layers, data), losses(low, data)) < tolerance<B>);
  auto few_bits = loaded<host, matrices_away<host>>();
  auto matrices = loaded<near, matrices_away<B>>();
  CHECK(distance(losses(matrices, data), losses(few_bits, data)) < tolerance<B>);
}

TEST_CASE("fused adapters learn on a GPU, and are pulled towards one as on the CPU") {
  const auto data = texts(15);
  auto model = loaded<GRAFT_GPU<float>, fused>();
  auto other = loaded<host, fused>();
  CHECK(distance(trained(model), trained(other)) < 1e-7);
  CHECK(distance(losses(model, data), losses(other, data)) < tolerance<GRAFT_GPU<float>>);
}

TEST_CASE("nothing is kept on a GPU for what is frozen, either") {
  using B = GRAFT_GPU<bf16>;
  STATIC_REQUIRE(std::is_same_v<gradient_t<decltype(bert_classifier<B, untuned>::network)>, nothing>);
  const auto model = loaded<B, low_rank>();
  CHECK(model.parameters.count() == loaded<host, low_rank>().parameters.count());
}

TEST_CASE("files do not tell which device wrote them") {
  using B = GRAFT_GPU<bf16>;
  const auto data = texts(12);
  const scratch_folder folder;
  const auto base = identify_base(golden_path("bert"));
  auto model = loaded<B, low_rank>();
  losses(model, data);
  save_adapter(model, folder / "adapter", base);
  auto on_cpu = load_with_adapter<GRAFT_HOST<float>, low_rank>(golden_path("bert"), folder / "adapter");
  CHECK(trained(on_cpu) == trained(model));
  CHECK(distance(logits(model, data), logits(on_cpu, data)) < tolerance<B>);
  save_adapter(on_cpu, folder / "again", base);
  const auto back = load_with_adapter<B, low_rank>(golden_path("bert"), folder / "again");
  CHECK(logits(back, data) == logits(model, data));

  save_peft(model, folder / "peft");
  auto merged = load_classifier<B, untuned>(golden_path("bert"));
  merge_adapter(merged, read_any_adapter(folder / "peft", model.config));
  CHECK(distance(logits(merged, data), logits(on_cpu, data)) < tolerance<B>);

  // Trained whole, and frozen after that: the values are the device's alone.
  auto whole = loaded<B, everything>();
  losses(whole, data);
  const auto answers = logits(whole, data);
  save_pretrained(whole, folder / "model", "BertForSequenceClassification", whole.labels);
  const auto from_file = bert_classifier<GRAFT_HOST<float>, untuned>::load(folder / "model");
  CHECK(distance(answers, logits(from_file, data)) < tolerance<B>);
  const auto frozen = regraft<low_rank>(std::move(whole));
  CHECK(distance(logits(frozen, data), answers) < tolerance<B>);
  save_adapter(frozen, folder / "departed", base);
  const auto departed = load_with_adapter<GRAFT_HOST<float>, low_rank>(golden_path("bert"), folder / "departed");
  CHECK(distance(logits(departed, data), answers) < tolerance<B>);
}

TEST_CASE("a model goes to another backend and back") {
  using B = GRAFT_GPU<bf16>;
  const auto data = texts(12);
  auto model = bert_classifier<GRAFT_HOST<float>, mixed>::load(golden_path("bert"), {.numbers = {{"width", 2}}});
  losses(model, data);
  const auto there = model.to<B>();
  CHECK(trained(there) == trained(model));
  CHECK(there.parameters.segments.size() == model.parameters.segments.size());
  CHECK(distance(logits(there, data), logits(model, data)) < tolerance<B>);
  const auto back = there.to<GRAFT_HOST<float>>();
  CHECK(logits(back, data) == logits(model, data));
  CHECK(back.network.bert.embeddings.word.weight.data ==
        model.network.bert.embeddings.word.weight.data);  // one copy of what is frozen
  auto exact = model.to<GRAFT_HOST<double>>();
  CHECK(distance(logits(exact, data), logits(model, data)) < 1e-5);
  auto whole = loaded<GRAFT_HOST<float>, everything>();
  const auto answers = logits(whole, data);
  CHECK(logits(whole.to<B>().to<GRAFT_HOST<float>>(), data) == answers);

  using from_base = strategies::pissa;
  CHECK_THROWS_WITH((loaded<GRAFT_HOST<float>, from_base>().to<GRAFT_HOST<double>>()),
                    Contains("layer.0.attention.query: expected a decoration that leaves the base alone"));
}

TEST_CASE("a run on a GPU goes on from its snapshot, bit for bit") {
  using model_type = bert_classifier<GRAFT_GPU<bf16>, mixed>;
  const auto data = texts(12);
  const scratch_folder folder;
  const std::string file = folder / "snapshot.safetensors";
  fit_options options;
  options.epochs = 2;
  options.batch = 4;
  options.average = 0.9;
  auto model = loaded<GRAFT_GPU<bf16>, mixed>();
  {
    training<model_type> run(model, data, data, options);
    for (int i = 0; i < 5; ++i)
      run.advance();
    save_snapshot(run, file);
    while (!run.over())
      run.advance();
    run.finish();
  }
  auto again = loaded<GRAFT_GPU<bf16>, mixed>();
  training<model_type> run(again, data, data, options);
  load_snapshot(run, file);
  while (!run.over())
    run.advance();
  run.finish();
  CHECK(trained(again) == trained(model));
}

TEST_CASE("equal seeds give equal runs on a GPU, bit for bit") {
  const auto data = texts(12);
  const auto run = [&] {
    auto model = loaded<GRAFT_GPU<bf16>, mixed>();
    losses(model, data);
    return trained(model);
  };
  CHECK(run() == run());
}

}  // namespace graft_test::gpu_models_tests
