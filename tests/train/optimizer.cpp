// SPDX-License-Identifier: MIT
// train/optimizer.hpp
#include <graft/backend/cpu.hpp>
#include <graft/backend/reference.hpp>
#include <graft/train/optimizer.hpp>

#include <cmath>
#include <cstddef>
#include <vector>

#include "support/catch.hpp"

using namespace graft;
using graft::index_t;

namespace {

// Two segments: the first decays and moves at half the rate, the second spares itself the decay.
template <class B>
parameter_store<B> two_segments() {
  parameter_store<B> store;
  store.values = typename B::parameter(1, 48);
  store.segments = {{"weight", 0, 5, 7, true, 0.5}, {"bias", 48 - 9, 1, 9, false, 1}};
  return store;
}

template <class B>
void fill_random(const typename B::parameter& p, std::uint64_t seed) {
  random_stream random(seed);
  for (index_t i = 0; i < p.size(); ++i)
    p.data[i] = static_cast<typename B::scalar>(random.normal());
}

// Runs `method` for five steps beside a plain loop: formula(w, g, moments[2], step, rate, decay) ->
// w.
template <class B, class Formula>
void compare(optimizer_method method, double rate, double decay, bool everything,
             const Formula& formula) {
  auto store = two_segments<B>();
  fill_random<B>(store.values, 1);
  optimizer<B> o(method, store, everything);
  std::vector<double> w(store.values.data, store.values.data + 48);
  std::vector<double> m(48, 0), v(48, 0);
  typename B::parameter g(1, 48);
  for (int step = 1; step <= 5; ++step) {
    fill_random<B>(g, static_cast<std::uint64_t>(step) + 10);
    const double factor = 1.0 / step, scale = step == 3 ? 0.25 : 1;
    o.step(store, g, factor, scale);
    for (const segment& s : store.segments)
      for (index_t i = s.offset; i < s.offset + s.size(); ++i) {
        const auto at = static_cast<std::size_t>(i);
        w[at] = formula(w[at], g.data[i] * scale, m[at], v[at], step, rate * factor * s.rate_factor,
                        everything || s.decays ? decay : 0);
      }
    for (std::size_t i = 0; i < 48; ++i) {
      INFO("step " << step << ", element " << i);
      CHECK(store.values.data[i] == Approx(w[i]).epsilon(1e-12));  // also the gap between segments
    }
  }
  CHECK(o.steps() == 5);
}

}  // namespace

TEMPLATE_TEST_CASE("sgd is PyTorch's", "", cpu<double>, reference<double>) {
  const double momentum = GENERATE(0.0, 0.9);
  const bool nesterov = GENERATE(false, true);
  const double decay = GENERATE(0.0, 0.1);
  compare<TestType>(sgd{.rate = 0.3, .momentum = momentum, .nesterov = nesterov, .decay = decay},
                    0.3, decay, GENERATE(false, true),
                    [&](double w, double g, double& m, double&, int, double rate, double d) {
                      m = momentum * m + g;
                      return w - rate * d * w - rate * (nesterov ? g + momentum * m : m);
                    });
}

TEMPLATE_TEST_CASE("adam and adamw are Kingma & Ba's and Loshchilov & Hutter's", "", cpu<double>,
                   reference<double>) {
  const auto formula = [](double w, double g, double& m, double& v, int step, double rate,
                          double d) {
    m = 0.8 * m + 0.2 * g;
    v = 0.95 * v + 0.05 * g * g;
    const double mean = m / (1 - std::pow(0.8, step)), square = v / (1 - std::pow(0.95, step));
    return w - rate * d * w - rate * mean / (std::sqrt(square) + 1e-3);
  };
  const bool everything = GENERATE(false, true);
  compare<TestType>(adam{.rate = 0.2, .beta1 = 0.8, .beta2 = 0.95, .epsilon = 1e-3}, 0.2, 0,
                    everything, formula);
  compare<TestType>(adamw{.rate = 0.2, .beta1 = 0.8, .beta2 = 0.95, .epsilon = 1e-3, .decay = 0.3},
                    0.2, 0.3, everything, formula);
}

TEST_CASE("an optimizer of nothing does nothing") {
  using B = cpu<float>;
  parameter_store<B> empty;
  optimizer<B> o(adamw{}, empty);
  o.step(empty, {});
  CHECK(o.state_bytes() == 0);
}

TEST_CASE("an optimizer's state is one buffer, Adam's two") {
  using B = cpu<float>;
  const auto store = two_segments<B>();
  CHECK(optimizer<B>(sgd{.momentum = 0.9}, store).state_bytes() == 48 * 4);
  CHECK(optimizer<B>(adam{}, store).state_bytes() == 2 * 48 * 4);
  CHECK(optimizer<B>(adamw{}, store).state_bytes() == 2 * 48 * 4);
}

TEST_CASE("a gradient is clipped to a norm as PyTorch does it") {
  using B = cpu<double>;
  B::parameter g(1, 4);
  g(0, 0) = 3, g(0, 3) = -4;
  CHECK(gradient_norm<B>(g) == 5);
  CHECK(gradient_norm<B>({}) == 0);
  CHECK(clip_factor(5, 1) == Approx(0.2).epsilon(1e-6));
  CHECK(clip_factor(5, 1) == 1 / (5 + 1e-6));
  CHECK(clip_factor(5, 5) == 1);
  CHECK(clip_factor(5, 10) == 1);
  CHECK(clip_factor(5, 0) == 1);
}
