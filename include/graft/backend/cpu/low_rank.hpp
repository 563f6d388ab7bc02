// SPDX-License-Identifier: MIT
// Low-rank updates of the CPU backend: 64 rows at a time, each block's two products on one thread.
#pragma once

#include <graft/backend/cpu.hpp>
#include <graft/backend/cpu/eigen.hpp>
#include <graft/backend/cpu/engine.hpp>

namespace graft {

namespace detail {

inline constexpr index_t update_rows = 64;   // of a block
inline constexpr index_t update_ranks = 64;  // that a block takes at a time

// y += s · (x Aᵀ Bᵀ + c) for at most update_rows rows. x Aᵀ lies on the stack.
template <class T, class View>
void add_low_rank_block(matrix_view<T> y, matrix_view<const T> x, const row_update<View, T>& u) {
  alignas(64) T room[update_rows * update_ranks];
  for (index_t r = 0; r < u.a.rows; r += update_ranks) {
    const index_t ranks = std::min(update_ranks, u.a.rows - r);
    const matrix_view<T> h(room, x.rows, ranks);
    engine::product<T>(product_form::nt, h, x, u.a.rows_of(r, ranks), T(1), false);
    engine::product<T>(product_form::nt, y, h, u.b.columns(r, ranks), u.scale, true);
  }
  if (u.bias.data)
    for (index_t i = 0; i < y.rows; ++i)
      each_lane(
          y.cols, [&u](lane<T>& out, lane<T>& c) { out += u.scale * c; }, y.row(i), u.bias.data);
}

}  // namespace detail

template <class T>
void cpu<T>::add_low_rank(view y, const_view x, updates groups) {
  using namespace detail;
  const auto blocks_of = [](const auto& u) { return (u.rows + update_rows - 1) / update_rows; };
  index_t blocks = 0, rows = 0;
  for (const auto& u : groups) {
    blocks += blocks_of(u);
    rows += u.rows;
  }
  for_each_task(blocks, rows * (x.cols + y.cols), [&](index_t block, index_t) {
    auto u = groups.begin();
    for (; block >= blocks_of(*u); ++u)
      block -= blocks_of(*u);
    const index_t first = block * update_rows, n = std::min(update_rows, u->rows - first);
    add_low_rank_block<T>(y.rows_of(u->first + first, n), x.rows_of(u->first + first, n), *u);
  });
}

}  // namespace graft
