// SPDX-License-Identifier: MIT
// The two ordinary matrices of an adapter, and how they begin.
#pragma once

#include <graft/core/numbers.hpp>
#include <graft/layer/linear.hpp>
#include <graft/tuning/bottleneck_spec.hpp>

#include <cmath>
#include <string_view>

namespace graft {

// What an adapter's matrices are. `down` and `up` make them, `numbers` and `renumber` are the sizes
// that are theirs, `begin` gives them their first values.
template <backend B>
struct linear_maps {
  using spec = bottleneck;
  using down_type = linear<B>;
  using up_type = linear<B>;
  static constexpr std::string_view method = bottleneck::name;
  template <backend To>
  using on_backend = linear_maps<To>;

  linear_maps() = default;
  explicit linear_maps(const bottleneck&) {}

  linear<B> down(index_t in, index_t out) const { return linear<B>(in, out); }
  linear<B> up(index_t in, index_t out) const { return linear<B>(in, out); }
  void numbers(decoration_numbers&) const {}
  bool renumber(const decoration_numbers&) { return false; }

  static void begin(linear<B>& l, adapter_init init, bool last, random_stream& random) {
    const double bound = 1 / std::sqrt(static_cast<double>(l.in()));
    const auto value = [&] {
      switch (init) {
        case adapter_init::identity: return last ? 0 : random.uniform(-bound, bound);
        case adapter_init::near_identity: return 0.02 * random.normal();
        case adapter_init::houlsby: return 0.01 * cut_normal(random);
      }
      return 0.0;
    };
    set_values<B>(l.weight, value);
    set_values<B>(l.bias, [] { return 0; });
  }

 private:
  // Standard normal within two deviations.
  static double cut_normal(random_stream& random) {
    for (;;)
      if (const double x = random.normal(); std::abs(x) <= 2)
        return x;
  }
};

}  // namespace graft
