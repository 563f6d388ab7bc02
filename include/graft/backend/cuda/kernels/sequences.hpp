// SPDX-License-Identifier: MIT
// Kernels over the sequences of a packed batch, and over rows by number.
#pragma once

#include <graft/backend/cuda/device_view.hpp>
#include <graft/backend/cuda/warp.hpp>
#include <graft/core/device_code.hpp>

#include <cstdint>

namespace graft::kernels {

// The rows of sequence s are offsets[s] … offsets[s + 1] − 1; of[i] is the sequence of row i.
struct sequence_map {
  const index_t* offsets = nullptr;
  const std::int32_t* of = nullptr;

  GRAFT_DEVICE index_t first(index_t s) const { return offsets[s]; }
  GRAFT_DEVICE index_t length(index_t s) const { return offsets[s + 1] - offsets[s]; }
};

// Rows of a sequence that are worked on together, and those that they meet.
struct row_tile {
  std::int32_t first = 0, rows = 0;  // of the batch; without rows there is nothing to do
  std::int32_t place = 0;            // of the first, counted from the beginning of its sequence
  std::int32_t first_other = 0, others = 0;
};

// y[i] (+)= table[ids[i]]; kernel(i, j) makes columns 8 j … 8 j + 7.
struct gather {
  device_view y;
  const_device_view table;
  const std::int32_t* ids;
  bool add;
  GRAFT_DEVICE void operator()(index_t i, index_t j) const {
    bunch<8> v = table.load<8>(ids[i], 8 * j);
    if (add) {
      const bunch<8> before = y.load<8>(i, 8 * j);
      for (int k = 0; k < 8; ++k)
        v[k] += before[k];
    }
    y.store(i, 8 * j, v);
  }
};

// table[id of run r] += y[i] for the rows i of that run, in their order.
struct scatter_add {
  device_view table;
  const_device_view y;
  const std::int32_t *ids, *starts, *order;  // of each run; the last start is the end
  GRAFT_DEVICE void operator()(index_t r, index_t j) const {
    float sum = table(ids[r], j);
    for (std::int32_t k = starts[r]; k < starts[r + 1]; ++k)
      sum += y(order[k], j);
    table.set(ids[r], j, sum);
  }
};

// An empty sequence pools to zero.
struct pool_first {
  device_view y;
  const_device_view x;
  sequence_map rows;
  GRAFT_DEVICE void operator()(index_t s, index_t j) const {
    y.set(s, j, rows.length(s) > 0 ? x(rows.first(s), j) : 0.0f);
  }
};
struct pool_first_backward {
  device_view dx;
  const_device_view dy;
  sequence_map rows;
  GRAFT_DEVICE void operator()(index_t i, index_t j) const {
    const index_t s = rows.of[i];
    dx.set(i, j, rows.first(s) == i ? dy(s, j) : 0.0f);
  }
};
struct pool_mean {
  device_view y;
  const_device_view x;
  sequence_map rows;
  GRAFT_DEVICE void operator()(index_t s, index_t j) const {
    float sum = 0;
    for (index_t i = rows.first(s); i < rows.first(s + 1); ++i)
      sum += x(i, j);
    const index_t n = rows.length(s);
    y.set(s, j, n > 0 ? sum / static_cast<float>(n) : 0.0f);
  }
};
struct pool_mean_backward {
  device_view dx;
  const_device_view dy;
  sequence_map rows;
  GRAFT_DEVICE void operator()(index_t i, index_t j) const {
    const index_t s = rows.of[i];
    dx.set(i, j, dy(s, j) / static_cast<float>(rows.length(s)));
  }
};

struct scale_sequences {
  device_view y;
  const_device_view x, g;
  sequence_map rows;
  GRAFT_DEVICE void operator()(index_t i, index_t j) const {
    y.set(i, j, x(i, j) * g(rows.of[i], 0));
  }
};
// kernel(warp, s)
struct dot_sequences {
  device_view y;
  const_device_view a, b;
  sequence_map rows;
  GRAFT_DEVICE void operator()(warp w, index_t s) const {
    per_lane<float> part, lost;  // by rounding, to be added with the next number (Kahan 1965)
    for (index_t i = rows.first(s); i < rows.first(s + 1); ++i)
      w.lanes([&](int l) {
        for (index_t j = l; j < a.cols; j += warp::size) {
          const float next = a(i, j) * b(i, j) - lost[l], sum = part[l] + next;
          lost[l] = (sum - part[l]) - next;
          part[l] = sum;
        }
      });
    const float dot = w.sum(part);
    w.each(1, [&](index_t) { y.set(s, 0, dot); });
  }
};

// Sequence s of y is `more` rows of p (its own where p has that many for each), then its rows of x.
struct prepend {
  device_view y;
  const_device_view p, x;
  sequence_map rows;  // of x
  index_t more;
  // kernel(i, j) over the rows of y; the row's sequence is known by `longer`.
  const std::int32_t* longer;
  GRAFT_DEVICE void operator()(index_t i, index_t j) const {
    const index_t s = longer[i], at = i - rows.first(s) - s * more;
    y.set(i, j, at < more ? p(p.rows > more ? s * more + at : at, j)
                          : x(rows.first(s) + at - more, j));
  }
};
struct prepend_backward_rows {
  device_view dx;
  const_device_view dy;
  sequence_map rows;
  index_t more;
  GRAFT_DEVICE void operator()(index_t i, index_t j) const {
    dx.set(i, j, dy(i + (rows.of[i] + 1) * more, j));
  }
};
// dp += its rows of every sequence, in their order; kernel(t, j) over the rows of dp.
struct prepend_backward_prompt {
  device_view dp;
  const_device_view dy;
  sequence_map rows;
  index_t more, sequences;
  GRAFT_DEVICE void operator()(index_t t, index_t j) const {
    const bool own = dp.rows > more;
    const index_t at = own ? t % more : t, from = own ? t / more : 0, to = own ? from + 1 : sequences;
    float sum = dp(t, j);
    for (index_t s = from; s < to; ++s)
      sum += dy(rows.first(s) + s * more + at, j);
    dp.set(t, j, sum);
  }
};

}  // namespace graft::kernels
