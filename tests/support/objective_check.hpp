// SPDX-License-Identifier: MIT
// Losses of objectives against central differences.
#pragma once

#include <graft/backend/cpu.hpp>
#include <graft/train/objective.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"

namespace graft_test {

// All examples as one batch, and random outputs [rows, cols] for it.
template <class O, class Batch = token_batch>
struct objective_case {
  using B = cpu<double>;
  host_workspace memory;
  Batch batch;
  truth wanted;
  B::tensor outputs;

  objective_case(const O& what, const example_list& data, index_t rows, index_t cols,
                 std::uint64_t seed = 1) {
    for (std::uint32_t i = 0; i < data.size(); ++i)
      what.add(data[i], {.number = i, .seed = 3, .epoch = 1}, 0, batch, wanted);
    outputs = random_tensor<B>(memory, rows, cols, seed);
  }
  context<B> k() { return {memory, batch.rows}; }
  loss_result<B::tensor> loss(const O& what) {
    return what.template loss<B>(outputs, batch, wanted, k());
  }
  evaluation evaluated(const O& what) const {
    typename O::tally sums{};
    what.count(sums, outputs, batch, wanted);
    return what.evaluate(std::move(sums));
  }

  // (L(y + h) − L(y − h)) / 2h, for every element of the outputs.
  void check_gradient(const O& what) {
    const auto r = loss(what);
    REQUIRE(r.gradient.rows == outputs.rows);
    REQUIRE(r.gradient.cols == outputs.cols);
    constexpr double h = 1e-5;
    double worst = 0, largest = 0;
    for (index_t i = 0; i < outputs.size(); ++i) {
      const double y = outputs.data[i];
      outputs.data[i] = y + h;
      const double above = loss(what).loss;
      outputs.data[i] = y - h;
      const double below = loss(what).loss;
      outputs.data[i] = y;
      worst = std::max(worst, std::abs((above - below) / (2 * h) - r.gradient.data[i]));
      largest = std::max(largest, std::abs(r.gradient.data[i]));
    }
    CHECK(worst < 1e-8);
    CHECK(largest > 1e-3);
  }
};

}  // namespace graft_test
