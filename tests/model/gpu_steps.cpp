// SPDX-License-Identifier: MIT
// Training steps over the GPU backend, launched as one. On an emulated device, or, in a program of its own,
// on a real one.
#include <graft/model/bert_classifier.hpp>
#include <graft/train/fit.hpp>
#include <graft/tuning/strategies.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "support/catch.hpp"
#include "support/learning.hpp"

#ifdef GRAFT_TESTS_ON_DEVICE
#include <graft/backend/cuda.hpp>
#define GRAFT_GPU cuda
#define GRAFT_GPU_RUNTIME cuda_runtime
#else
#include "support/emulated_device.hpp"
#define GRAFT_GPU emulated
#define GRAFT_GPU_RUNTIME emulated_runtime
#endif

namespace graft_test::gpu_steps_tests {

using namespace learning;

namespace {

// Launches everything singly.
struct without_graphs : GRAFT_GPU_RUNTIME {
  static std::optional<graph> capture(const command_list&) { return std::nullopt; }
};

struct mixture {
  static constexpr recipe rules{
      on(at::query | at::value, lora{.rank = 2, .alpha = 4, .dropout = 0.1f}),
      on(at::memory, prefix{.tokens = 3}),
      on(at::feed_forward, bottleneck{.width = 3, .dropout = 0.1f}, top(2)), on(at::head, train{})};
};
struct all_of_it {
  static constexpr recipe rules{on(at::everything, train{})};
};

fit_options options_of(int epochs) {
  fit_options o;
  o.epochs = epochs;
  o.batch = 4;
  o.method = adamw{.rate = 2e-3};
  return o;
}

// Losses and norms of all steps, then the parameters.
template <class B, class T>
std::vector<double> course(const example_list& data, const fit_options& options) {
  auto model = loaded<B, T>();
  std::vector<reading> told;
  fit(model, data, {}, options, [&](const fit_progress& now) {
    told.push_back(now.loss);
    told.push_back(now.gradient_norm);
  });
  std::vector<double> all(told.begin(), told.end());
  for (const float w : B::on_host(model.parameters.values))
    all.push_back(static_cast<double>(w));
  return all;
}

}  // namespace

TEMPLATE_TEST_CASE("steps of many lengths become few graphs, and the same numbers", "", mixture,
                   all_of_it) {
  using B = GRAFT_GPU<bf16>;
  const auto data = texts(40, 9);
  const auto options = options_of(8);
  auto& recorder = B::device::recorder();
  const std::size_t graphs = recorder.graphs(), replays = recorder.replays();
  const auto found = course<B, TestType>(data, options);
  CHECK(recorder.graphs() - graphs <= 6);
  CHECK(recorder.replays() - replays >= 60);  // of 80 steps
  CHECK(course<gpu<bf16, recorded_device<without_graphs>>, TestType>(data, options) == found);
}

TEST_CASE("a batch that is padded is learned as one that is not") {
  using B = GRAFT_GPU<float>;
  const auto data = texts(17, 9);
  auto options = options_of(3);
  const auto padded = course<B, mixture>(data, options);
  options.padded = false;
  const auto plain = course<B, mixture>(data, options);
  REQUIRE(padded.size() == plain.size());
  for (std::size_t i = 0; i < plain.size(); ++i)
    REQUIRE(padded[i] == Approx(plain[i]).epsilon(1e-4).margin(1e-5));
}

TEST_CASE("a run that diverges says at which step, later") {
  auto options = options_of(30);
  options.method = sgd{.rate = 1e30};
  options.clip = 0;
  auto model = loaded<GRAFT_GPU<float>, all_of_it>();
  CHECK_THROWS_AS(fit(model, texts(40, 9), {}, options), divergence_error);
}

#ifndef GRAFT_TESTS_ON_DEVICE
TEST_CASE("nobody waits for the device within a step") {
  const auto data = texts(12, 9);
  auto model = loaded<emulated<fp16>, mixture>();
  training run(model, data, {}, options_of(3));
  run.advance();  // frozen weights are brought to the device
  const int waits = emulated_runtime::waits;
  while (run.position().epoch == 1 && run.position().batch < 3) {
    const int before = emulated_runtime::waits;
    run.advance();
    CHECK(emulated_runtime::waits == before);
  }
  CHECK(emulated_runtime::waits > waits);  // position() asked
}
#endif

}  // namespace graft_test::gpu_steps_tests
