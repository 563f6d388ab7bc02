// SPDX-License-Identifier: MIT
// backend/cpu/stored_product.hpp: inputs are rounded as core/half_precision.hpp says.
#include <graft/backend/cpu/stored_product.hpp>
#include <graft/core/half_precision.hpp>
#include <graft/core/random.hpp>

#include <cstdint>
#include <limits>
#include <vector>

#include "support/catch.hpp"

namespace graft_test::stored_products {

TEST_CASE("floats are rounded to bf16 as one by one") {
  using limits = std::numeric_limits<float>;
  std::vector<float> values{0.0f, -0.0f, 1.0f, limits::max(), limits::lowest(), limits::min(), limits::denorm_min(),
                            limits::infinity(), -limits::infinity(), limits::quiet_NaN(), limits::signaling_NaN()};
  graft::random_stream random(3);
  for (int i = 0; i < 5000; ++i)
    values.push_back(static_cast<float>(random.normal()));
  for (std::uint32_t i = 0; i < 8; ++i)  // ties, and their neighbours
    values.push_back(__builtin_bit_cast(float, 0x3f807fffu + (i << 15) + i % 3));
  std::vector<std::uint16_t> found(values.size());
  graft::detail::round_to_bf16(found.data(), values.data(), static_cast<graft::index_t>(values.size()));
  for (std::size_t i = 0; i < values.size(); ++i) {
    CAPTURE(values[i]);
    CHECK(found[i] == graft::to_bf16(values[i]));
  }
}

}  // namespace graft_test::stored_products
