// SPDX-License-Identifier: MIT
// Kernels in which a warp makes one row: kernel(warp, i) for every row i.
#pragma once

#include <graft/backend/cuda/device_view.hpp>
#include <graft/backend/cuda/kernels/held_row.hpp>
#include <graft/backend/cuda/warp.hpp>
#include <graft/core/device_code.hpp>
#include <graft/core/int8_rows.hpp>

#include <cmath>

namespace graft::kernels {

// y (+)= s Σ_j a ∘ b
struct dot_rows {
  device_view y;
  const_device_view a, b;
  float s;
  bool add;
  GRAFT_DEVICE void operator()(warp w, index_t i) const {
    const float dot = s * w.sum(a.cols, [&](index_t j) { return a(i, j) * b(i, j); });
    w.each(1, [&](index_t) { y.set(i, 0, (add ? y(i, 0) : 0.0f) + dot); });
  }
};

// |x| counts as at least 1e-12: a row of zeros stays one.
struct normalize_rows {
  device_view y;
  const_device_view x;
  GRAFT_DEVICE void operator()(warp w, index_t i) const {
    const float squares = w.sum(x.cols, [&](index_t j) { return x(i, j) * x(i, j); });
    const float norm = fmaxf(sqrtf(squares), 1e-12f);
    w.each(x.cols, [&](index_t j) { y.set(i, j, x(i, j) / norm); });
  }
};

struct round_rows {
  device_view y;
  const_device_view x;
  GRAFT_DEVICE void operator()(warp w, index_t i) const {
    const int8_rounding rounded(w.max(x.cols, [&](index_t j) { return fabsf(x(i, j)); }));
    w.each(x.cols, [&](index_t j) { y.set(i, j, rounded(x(i, j))); });
  }
};

struct softmax {
  device_view y;
  const_device_view x;
  GRAFT_DEVICE void operator()(warp w, index_t i) const {
    const float most = w.max(x.cols, [&](index_t j) { return x(i, j); });
    const float sum = w.sum(x.cols, [&](index_t j) { return expf(x(i, j) - most); });
    w.each(x.cols, [&](index_t j) { y.set(i, j, expf(x(i, j) - most) / sum); });
  }
};

// y = (x − mean) / √(var + ε) · gain + bias of one row, x as `row` holds it (in bunches); stats = mean,
// 1 / √(var + ε)
struct norm_of_row {
  device_view y, stats;
  const_device_view gain, bias;
  float epsilon;

  GRAFT_DEVICE bool of_floats() const {
    return gain.type == number_type::f32 && bias.type == number_type::f32;
  }
  template <class How, class Row>
  GRAFT_DEVICE void write(How, warp w, index_t i, const Row& row) const {
    const float n = static_cast<float>(y.cols);
    const float mean = row.sum([](const bunch<4>& v, int k) { return v[k]; }) / n;
    const float variance = row.sum([&](const bunch<4>& v, int k) {
      const float d = v[k] - mean;
      return d * d;
    }) / n;
    const float inverse = 1 / sqrtf(variance + epsilon);
    row.each([&](index_t j, bunch<4> v) {
      const bunch<4> by = How::of_row(gain, j), more = How::of_row(bias, j);
      for (int k = 0; k < 4; ++k)
        v[k] = (v[k] - mean) * inverse * by[k] + more[k];
      How::store(y, i, j, v);
    });
    w.each(2, [&](index_t j) { stats.set(i, j, j == 0 ? mean : inverse); });
  }
};

struct layer_norm {
  norm_of_row norm;
  const_device_view x;
  GRAFT_DEVICE void operator()(warp w, index_t i) const {
    with_access(
        [&](auto how) {
          const row_source<decltype(how)> source{x, i};
          with_row<how.holds>(w, x.cols, source, [&](const auto& row) { norm.write(how, w, i, row); });
        },
        norm.of_floats(), norm.y, x);
  }
};

// The norm of sum = h + t. sum may be h, and y where it is not wanted.
struct add_layer_norm {
  norm_of_row norm;
  device_view sum;
  const_device_view h, t;

  template <class How>
  struct source {
    const add_layer_norm& of;
    index_t i;
    struct fetched {
      raw_bunch<4> h, t;
    };
    GRAFT_DEVICE fetched fetch(index_t j) const { return {How::fetch(of.h, i, j), How::fetch(of.t, i, j)}; }
    GRAFT_DEVICE bunch<4> made(const fetched& v, index_t) const {
      bunch<4> s = How::decode(of.h, v.h);
      const bunch<4> more = How::decode(of.t, v.t);
      for (int k = 0; k < 4; ++k)
        s[k] = of.sum.rounded(s[k] + more[k]);
      return s;
    }
  };
  GRAFT_DEVICE void operator()(warp w, index_t i) const {
    with_access([&](auto how) { run(how, w, i); }, norm.of_floats(), norm.y, sum, h, t);
  }
  template <class How>
  GRAFT_DEVICE void run(How how, warp w, index_t i) const {
    const source<How> added{*this, i};
    const auto write_sum = [&](index_t j, const bunch<4>& v) { How::store(sum, i, j, v); };
    if constexpr (How::holds)
      if (sum.cols <= widest_held) {
        const held_row<most_held, source<How>> row(w, sum.cols, added);
        if (sum.data != norm.y.data)
          row.each(write_sum);
        norm.write(how, w, i, row);
        return;
      }
    held_row<0, source<How>>(w, sum.cols, added).each(write_sum);
    const row_source<How> again{sum, i};
    norm.write(how, w, i, held_row<0, row_source<How>>(w, sum.cols, again));
  }
};

// With g = dy ∘ gain and z the normalised row: dx = (g − mean(g) − z mean(g ∘ z)) / √(var + ε)
struct layer_norm_backward {
  device_view dx;
  const_device_view dy, x, stats, gain;

  struct four {
    bunch<4> g, z;
  };
  template <class How>
  struct source {
    const layer_norm_backward& of;
    index_t i;
    float mean, inverse;
    struct fetched {
      raw_bunch<4> dy, x;
    };
    GRAFT_DEVICE fetched fetch(index_t j) const { return {How::fetch(of.dy, i, j), How::fetch(of.x, i, j)}; }
    GRAFT_DEVICE four made(const fetched& v, index_t j) const {
      four made{How::decode(of.dy, v.dy), How::decode(of.x, v.x)};
      const bunch<4> by = How::of_row(of.gain, j);
      for (int k = 0; k < 4; ++k) {
        made.g[k] *= by[k];
        made.z[k] = (made.z[k] - mean) * inverse;
      }
      return made;
    }
  };
  GRAFT_DEVICE void operator()(warp w, index_t i) const {
    with_access([&](auto how) { run(how, w, i); }, gain.type == number_type::f32, dx, dy, x);
  }
  template <class How>
  GRAFT_DEVICE void run(How, warp w, index_t i) const {
    const float n = static_cast<float>(x.cols), inverse = stats(i, 1);
    const source<How> both{*this, i, stats(i, 0), inverse};
    with_row<How::holds>(w, x.cols, both, [&](const auto& row) {
      const float sum = row.sum([](const four& v, int k) { return v.g[k]; }) / n;
      const float dot = row.sum([](const four& v, int k) { return v.g[k] * v.z[k]; }) / n;
      row.each([&](index_t j, const four& v) {
        bunch<4> d;
        for (int k = 0; k < 4; ++k)
          d[k] = inverse * (v.g[k] - sum - v.z[k] * dot);
        How::store(dx, i, j, d);
      });
    });
  }
};

}  // namespace graft::kernels
