// SPDX-License-Identifier: MIT
// Attention over packed sequences with an online softmax: memory linear in the sequence length, every
// sum in a fixed order. A warp makes one row of one head.
#pragma once

#include <graft/backend/cuda/device_view.hpp>
#include <graft/backend/cuda/kernels/dropout_mask.hpp>
#include <graft/backend/cuda/kernels/sequences.hpp>
#include <graft/backend/cuda/warp.hpp>
#include <graft/core/device_code.hpp>
#include <graft/core/layout.hpp>

#include <cmath>
#include <cstdint>

namespace graft::kernels {

// The widest head: a lane keeps every 32nd of its numbers.
inline constexpr index_t widest_head = 256;

struct attention_row {
  float of[widest_head / warp::size] = {};
};

// What forward and backward have in common.
struct attention_shape {
  sequence_map queries, keys;
  index_t heads;
  float scale;
  dropout_mask mask;
  const row_name* names;  // of the queries

  // q[i] · k[j] within columns first … first + n − 1.
  GRAFT_DEVICE static float dot(const const_device_view& q, index_t i, const const_device_view& k,
                                index_t j, index_t first, index_t n) {
    float sum = 0;
    for (index_t c = first; c < first + n; ++c)
      sum += q(i, c) * k(j, c);
    return sum;
  }
  // What dropout multiplies the probability of query row i and the key at position j with.
  GRAFT_DEVICE float factor(index_t i, index_t head, index_t j) const {
    if (!mask.acts())
      return 1;
    const auto first = static_cast<std::uint32_t>(head * (index_t{1} << 20) + j / 4);
    return mask.factor(mask.words(names[i], first), static_cast<int>(j % 4));
  }
};

// kernel(warp, n): head n % heads of query row n / heads.
struct attention {
  device_view y, logs;
  const_device_view q, k, v;
  attention_shape a;
  GRAFT_DEVICE void operator()(warp w, index_t n) const {
    const index_t i = n / a.heads, h = n % a.heads, s = a.queries.of[i];
    const index_t size = q.cols / a.heads, wide = v.cols / a.heads;
    const index_t first = a.keys.first(s), count = a.keys.length(s);
    per_lane<attention_row> sums;
    float most = -HUGE_VALF, total = 0;
    for (index_t begin = 0; begin < count; begin += warp::size) {
      per_lane<float> score, p;
      w.lanes([&](int l) {
        score[l] = begin + l < count
                       ? a.scale * a.dot(q, i, k, first + begin + l, h * size, size)
                       : -HUGE_VALF;
      });
      const float next = fmaxf(most, w.max(score)), shrink = expf(most - next);
      w.lanes([&](int l) { p[l] = expf(score[l] - next); });
      total = total * shrink + w.sum(p);
      w.lanes([&](int l) {
        p[l] *= begin + l < count ? a.factor(i, h, begin + l) : 0.0f;
        for (float& x : sums[l].of)
          x *= shrink;
      });
      for (int t = 0; t < warp::size && begin + t < count; ++t) {
        const float weight = w.of(p, t);
        w.lanes([&](int l) {
          for (index_t c = l, u = 0; c < wide; c += warp::size, ++u)
            sums[l].of[u] += weight * v(first + begin + t, h * wide + c);
        });
      }
      most = next;
    }
    w.lanes([&](int l) {
      for (index_t c = l, u = 0; c < wide; c += warp::size, ++u)
        y.set(i, h * wide + c, count > 0 ? sums[l].of[u] / total : 0.0f);
    });
    w.each(1, [&](index_t) { logs.set(i, h, count > 0 ? most + logf(total) : -HUGE_VALF); });
  }
};

// With p = exp(score − log) and dp = dy · v: dq = scale Σ p (mask dp − dot) k, where dot = Σ p mask dp is
// left in `dots` [queries, heads]. kernel(warp, n) as above.
struct attention_queries {
  device_view dq, dots;
  const_device_view dy, q, k, v, logs;
  attention_shape a;
  GRAFT_DEVICE void operator()(warp w, index_t n) const {
    const index_t i = n / a.heads, h = n % a.heads, s = a.queries.of[i];
    const index_t size = q.cols / a.heads, wide = v.cols / a.heads;
    const index_t first = a.keys.first(s), count = a.keys.length(s);
    const float log = logs(i, h);
    const auto p = [&](index_t j) {
      return expf(a.scale * a.dot(q, i, k, first + j, h * size, size) - log);
    };
    const auto dp = [&](index_t j) {
      return a.factor(i, h, j) * a.dot(dy, i, v, first + j, h * wide, wide);
    };
    const float dot = w.sum(count, [&](index_t j) { return p(j) * dp(j); });
    per_lane<attention_row> sums;
    for (index_t begin = 0; begin < count; begin += warp::size) {
      per_lane<float> ds;
      w.lanes([&](int l) {
        ds[l] = begin + l < count ? p(begin + l) * (dp(begin + l) - dot) * a.scale : 0.0f;
      });
      for (int t = 0; t < warp::size && begin + t < count; ++t) {
        const float weight = w.of(ds, t);
        w.lanes([&](int l) {
          for (index_t c = l, u = 0; c < size; c += warp::size, ++u)
            sums[l].of[u] += weight * k(first + begin + t, h * size + c);
        });
      }
    }
    w.lanes([&](int l) {
      for (index_t c = l, u = 0; c < size; c += warp::size, ++u)
        dq.set(i, h * size + c, sums[l].of[u]);
    });
    w.each(1, [&](index_t) { dots.set(i, h, dot); });
  }
};

// dk = scale Σ p (mask dp − dot) q, dv = Σ p mask dy over the queries of the key's sequence.
// kernel(warp, n): head n % heads of key row n / heads.
struct attention_keys {
  device_view dk, dv;
  const_device_view dy, q, k, v, logs, dots;
  attention_shape a;
  GRAFT_DEVICE void operator()(warp w, index_t n) const {
    const index_t row = n / a.heads, h = n % a.heads, s = a.keys.of[row];
    const index_t size = q.cols / a.heads, wide = v.cols / a.heads;
    const index_t first = a.queries.first(s), count = a.queries.length(s), j = row - a.keys.first(s);
    per_lane<attention_row> of_key, of_value;
    for (index_t begin = 0; begin < count; begin += warp::size) {
      per_lane<float> ds, kept;
      w.lanes([&](int l) {
        if (begin + l >= count)
          return;
        const index_t i = first + begin + l;
        const float p = expf(a.scale * a.dot(q, i, k, row, h * size, size) - logs(i, h));
        const float mask = a.factor(i, h, j);
        ds[l] = p * (mask * a.dot(dy, i, v, row, h * wide, wide) - dots(i, h)) * a.scale;
        kept[l] = p * mask;
      });
      for (int t = 0; t < warp::size && begin + t < count; ++t) {
        const float to_key = w.of(ds, t), to_value = w.of(kept, t);
        const index_t i = first + begin + t;
        w.lanes([&](int l) {
          for (index_t c = l, u = 0; c < size; c += warp::size, ++u)
            of_key[l].of[u] += to_key * q(i, h * size + c);
          for (index_t c = l, u = 0; c < wide; c += warp::size, ++u)
            of_value[l].of[u] += to_value * dy(i, h * wide + c);
        });
      }
    }
    w.lanes([&](int l) {
      for (index_t c = l, u = 0; c < size; c += warp::size, ++u)
        dk.set(row, h * size + c, of_key[l].of[u]);
      for (index_t c = l, u = 0; c < wide; c += warp::size, ++u)
        dv.set(row, h * wide + c, of_value[l].of[u]);
    });
  }
};

}  // namespace graft::kernels
