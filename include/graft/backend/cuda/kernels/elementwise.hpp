// SPDX-License-Identifier: MIT
// Kernels that make each element of a matrix on its own: kernel(i, j) for every row i and every group j of
// columns.
#pragma once

#include <graft/backend/cuda/device_view.hpp>
#include <graft/backend/cuda/kernels/activation_value.hpp>
#include <graft/backend/cuda/kernels/dropout_mask.hpp>
#include <graft/core/activation.hpp>
#include <graft/core/device_code.hpp>

#include <cmath>

namespace graft::kernels {

// Columns that a thread makes: kernel(i, j) makes those from 8 j on.
inline constexpr int columns_at_once = 8;
using columns = bunch<columns_at_once>;

// How many groups of them a row of `cols` has.
inline index_t groups_of_columns(index_t cols) { return (cols + columns_at_once - 1) / columns_at_once; }

GRAFT_DEVICE inline columns columns_of(const_device_view x, index_t i, index_t j) {
  return x.load<columns_at_once>(i, columns_at_once * j);
}
// … of two matrices, both fetched before either is decoded.
struct column_pair {
  columns a, b;
  GRAFT_DEVICE column_pair(const_device_view x, index_t row_of_x, const_device_view y, index_t row_of_y,
                           index_t j) {
    const auto first = x.fetch<columns_at_once>(row_of_x, columns_at_once * j);
    const auto second = y.fetch<columns_at_once>(row_of_y, columns_at_once * j);
    a = x.decode(first);
    b = y.decode(second);
  }
};
template <class F>
GRAFT_DEVICE void set_columns(device_view y, index_t i, index_t j, const F& value_of) {
  columns v;
  GRAFT_UNROLL
  for (int k = 0; k < columns_at_once; ++k)
    v[k] = value_of(k);
  y.store(i, columns_at_once * j, v);
}

struct copy {
  device_view y;
  const_device_view x;
  GRAFT_DEVICE void operator()(index_t i, index_t j) const {
    y.store(i, columns_at_once * j, columns_of(x, i, j));
  }
};

struct fill {
  device_view y;
  float s;
  GRAFT_DEVICE void operator()(index_t i, index_t j) const {
    set_columns(y, i, j, [&](int) { return s; });
  }
};

struct scale {
  device_view y;
  float s;
  GRAFT_DEVICE void operator()(index_t i, index_t j) const {
    const columns v = columns_of(y, i, j);
    set_columns(y, i, j, [&](int k) { return v[k] * s; });
  }
};

// y += s x
struct add_scaled {
  device_view y;
  const_device_view x;
  float s;
  GRAFT_DEVICE void operator()(index_t i, index_t j) const {
    const column_pair v(y, i, x, i, j);
    set_columns(y, i, j, [&](int k) { return v.a[k] + s * v.b[k]; });
  }
};

struct multiply {
  device_view y;
  const_device_view x;
  GRAFT_DEVICE void operator()(index_t i, index_t j) const {
    const column_pair v(y, i, x, i, j);
    set_columns(y, i, j, [&](int k) { return v.a[k] * v.b[k]; });
  }
};

// y += s · row
struct add_row {
  device_view y;
  const_device_view row;
  float s;
  GRAFT_DEVICE void operator()(index_t i, index_t j) const {
    const column_pair v(y, i, row, 0, j);
    set_columns(y, i, j, [&](int k) { return v.a[k] + s * v.b[k]; });
  }
};

// y (+)= x ∘ row, or x ∘ column
struct multiply_row {
  device_view y;
  const_device_view x, row;
  bool add;
  GRAFT_DEVICE void operator()(index_t i, index_t j) const {
    const column_pair v(x, i, row, 0, j);
    const columns before = add ? columns_of(y, i, j) : columns{};
    set_columns(y, i, j, [&](int k) { return before[k] + v.a[k] * v.b[k]; });
  }
};
struct multiply_column {
  device_view y;
  const_device_view x, column;
  bool add;
  GRAFT_DEVICE void operator()(index_t i, index_t j) const {
    const columns v = columns_of(x, i, j);
    const columns before = add ? columns_of(y, i, j) : columns{};
    const float by = column(i, 0);
    set_columns(y, i, j, [&](int k) { return before[k] + v[k] * by; });
  }
};

struct divide_by_root {
  device_view y;
  const_device_view a, b;
  GRAFT_DEVICE void operator()(index_t i, index_t j) const {
    const column_pair v(a, i, b, i, j);
    set_columns(y, i, j, [&](int k) { return v.a[k] / sqrtf(v.b[k]); });
  }
};

// use(f), where gelu is a constant of the code: the choice is then not made for every number.
struct known_gelu {
  GRAFT_DEVICE constexpr operator activation() const { return activation::gelu; }
};
template <class Use>
GRAFT_DEVICE void with_activation(activation f, const Use& use) {
  if (f == activation::gelu)
    use(known_gelu{});
  else
    use(f);
}

struct activate {
  device_view y;
  const_device_view x;
  activation f;
  GRAFT_DEVICE void operator()(index_t i, index_t j) const {
    const columns v = columns_of(x, i, j);
    with_activation(f, [&](auto g) {
      set_columns(y, i, j, [&](int k) { return activated(g, v[k]); });
    });
  }
};
// z += row, y = f(z); z may be y, where it is not wanted.
struct add_row_activate {
  device_view y, z;
  const_device_view row;
  activation f;
  GRAFT_DEVICE void operator()(index_t i, index_t j) const {
    const column_pair v(z, i, row, 0, j);
    columns sum;
    for (int k = 0; k < columns_at_once; ++k)
      sum[k] = z.rounded(v.a[k] + v.b[k]);
    if (z.data != y.data)
      z.store(i, columns_at_once * j, sum);
    with_activation(f, [&](auto g) {
      set_columns(y, i, j, [&](int k) { return activated(g, sum[k]); });
    });
  }
};
struct activate_backward {
  device_view dx;
  const_device_view dy, x;
  activation f;
  GRAFT_DEVICE void operator()(index_t i, index_t j) const {
    const column_pair v(dy, i, x, i, j);
    with_activation(f, [&](auto g) {
      set_columns(dx, i, j, [&](int k) { return v.a[k] * slope_of(g, v.b[k]); });
    });
  }
};

// Four columns at a time, which one draw has words for: kernel(i, j) makes columns 4 j … 4 j + 3.
struct dropout {
  device_view y;
  const_device_view x;
  dropout_mask mask;
  const row_name* names;
  GRAFT_DEVICE void operator()(index_t i, index_t j) const {
    const dropout_words words = mask.words(names[i], static_cast<std::uint32_t>(j));
    bunch<4> v = x.load<4>(i, 4 * j);
    for (int k = 0; k < 4; ++k)
      v[k] *= mask.factor(words, k);
    y.store(i, 4 * j, v);
  }
};

}  // namespace graft::kernels
