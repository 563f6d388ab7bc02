// SPDX-License-Identifier: MIT
// Attention of the CPU backend (Vaswani et al. 2017, arXiv:1706.03762): sequence by sequence, head
// by head, in tiles of query rows whose scores stay in cache. Backward computes the probabilities
// again from the saved logarithms (Dao et al. 2022, arXiv:2205.14135).
#pragma once

#include <graft/backend/cpu.hpp>
#include <graft/backend/cpu/eigen.hpp>
#include <graft/backend/cpu/engine.hpp>
#include <graft/backend/cpu/mask.hpp>

#include <cmath>
#include <limits>

namespace graft {

namespace detail {

inline constexpr index_t attention_tile = 64;

// Rows of scores begin at whole lanes.
inline index_t padded(index_t keys) { return (keys + lanes - 1) / lanes * lanes; }

// f(sequence, head, room) for every pair, each on one thread; `room` is that thread's, for `tiles`
// tiles of scores and one row more.
template <class T, class F>
void for_each_head(const attention_call<T>& call, index_t tiles, index_t size, host_workspace& w,
                   const F& f) {
  index_t longest = 0, work = 0;
  for (index_t s = 0; s < call.queries->sequences(); ++s) {
    longest = std::max(longest, call.keys->length(s));
    work += call.queries->length(s) * call.keys->length(s) * call.heads * size;
  }
  const auto room = host<T>::make(w, threads(), (tiles * attention_tile + 1) * padded(longest));
  for_each_task(call.queries->sequences() * call.heads, work, [&](index_t pair, index_t thread) {
    f(pair / call.heads, pair % call.heads, room.row(thread));
  });
}

// The rows of sequence s and the columns of head h.
template <class T>
matrix_view<T> head_of(matrix_view<T> v, const layout& rows, index_t s, index_t heads, index_t h) {
  const index_t size = v.cols / heads;
  return v.rows_of(rows.first(s), rows.length(s)).columns(h * size, size);
}

// values ∘= factors, over n of each.
template <class T>
void multiply(T* values, const T* factors, index_t n) {
  each_lane(n, [](lane<T>& a, lane<T>& b) { a *= b; }, values, factors);
}

}  // namespace detail

template <class T>
void cpu<T>::attention(view y, view logs, const_view q, const_view k, const_view v,
                       const attention_call<T>& call, workspace& w) {
  using namespace detail;
  using lane = detail::lane<T>;
  const index_t heads = call.heads;
  const dropper<T> drop(call.dropout, call.key);
  for_each_head(call, 1, q.cols / heads, w, [&](index_t s, index_t h, T* room) {
    const const_view queries = head_of(q, *call.queries, s, heads, h);
    const const_view keys = head_of(k, *call.keys, s, heads, h);
    const const_view values = head_of(v, *call.keys, s, heads, h);
    const view out = head_of(y, *call.queries, s, heads, h);
    const index_t first = call.queries->first(s), n = keys.rows, stride = padded(n);
    T* factors = room + attention_tile * stride;
    for (index_t i = 0; i < queries.rows; i += attention_tile) {
      const index_t rows = std::min(attention_tile, queries.rows - i);
      const view p(room, rows, n, stride), part = out.rows_of(i, rows);
      T sums[attention_tile];
      engine::product<T>(product_form::nt, p, queries.rows_of(i, rows), keys, call.scale, false);
      for (index_t r = 0; r < rows; ++r) {
        const index_t row = first + i + r;
        const T most = n > 0 ? max_of(p.row(r), n) : -std::numeric_limits<T>::infinity();
        each_lane(n, [most](lane& e) { e = (e - most).exp(); }, p.row(r));
        sums[r] = sum_lanes(n, [](const lane& e) { return e; }, p.row(r));
        logs(row, h) = n > 0 ? most + std::log(sums[r]) : most;
        if (call.dropout > T(0)) {
          drop.draw(factors, n, static_cast<std::uint32_t>(h) << 20,
                    call.queries->names[static_cast<std::size_t>(row)]);
          detail::multiply(p.row(r), factors, n);
        }
      }
      if (n == 0) {
        set_zero(part);
        continue;
      }
      engine::product<T>(product_form::nn, part, p, values, T(1), false);
      for (index_t r = 0; r < rows; ++r)
        each_lane(part.cols, [&](lane& e) { e /= sums[r]; }, part.row(r));
    }
  });
}

template <class T>
void cpu<T>::attention_backward(view dq, view dk, view dv, const_view dy, const_view q,
                                const_view k, const_view v, const_view logs,
                                const attention_call<T>& call, workspace& w) {
  using namespace detail;
  using lane = detail::lane<T>;
  const index_t heads = call.heads;
  const dropper<T> drop(call.dropout, call.key);
  for_each_head(call, 2, q.cols / heads, w, [&](index_t s, index_t h, T* room) {
    const const_view queries = head_of(q, *call.queries, s, heads, h);
    const const_view keys = head_of(k, *call.keys, s, heads, h);
    const const_view values = head_of(v, *call.keys, s, heads, h);
    const const_view slopes = head_of(dy, *call.queries, s, heads, h);
    const view dqueries = head_of(dq, *call.queries, s, heads, h);
    const view dkeys = head_of(dk, *call.keys, s, heads, h);
    const view dvalues = head_of(dv, *call.keys, s, heads, h);
    const index_t first = call.queries->first(s), n = keys.rows, stride = padded(n);
    T* factors = room + 2 * attention_tile * stride;
    if (n == 0)
      set_zero(dqueries);
    if (queries.rows == 0) {
      set_zero(dkeys);
      set_zero(dvalues);
    }
    for (index_t i = 0; n > 0 && i < queries.rows; i += attention_tile) {
      const index_t rows = std::min(attention_tile, queries.rows - i);
      const const_view qs = queries.rows_of(i, rows), ds = slopes.rows_of(i, rows);
      const view p(room, rows, n, stride), dp(room + attention_tile * stride, rows, n, stride);
      engine::product<T>(product_form::nt, p, qs, keys, call.scale, false);
      engine::product<T>(product_form::nt, dp, ds, values, T(1), false);
      for (index_t r = 0; r < rows; ++r) {
        // p ← exp(p - log) ∘ mask and dp ← p ∘ (dp ∘ mask - Σ p ∘ dp ∘ mask), p without its mask.
        const index_t row = first + i + r;
        const T log = logs(row, h);
        each_lane(n, [log](lane& e) { e = (e - log).exp(); }, p.row(r));
        if (call.dropout > T(0)) {
          drop.draw(factors, n, static_cast<std::uint32_t>(h) << 20,
                    call.queries->names[static_cast<std::size_t>(row)]);
          detail::multiply(dp.row(r), factors, n);
        }
        const T sum = sum_lanes(
            n, [](const lane& a, const lane& b) { return lane(a * b); }, p.row(r), dp.row(r));
        each_lane(n, [sum](lane& a, lane& b) { b = a * (b - sum); }, p.row(r), dp.row(r));
        if (call.dropout > T(0))
          detail::multiply(p.row(r), factors, n);
      }
      engine::product<T>(product_form::tn, dvalues, p, ds, T(1), i > 0);
      engine::product<T>(product_form::nn, dqueries.rows_of(i, rows), dp, keys, call.scale, false);
      engine::product<T>(product_form::tn, dkeys, dp, qs, call.scale, i > 0);
    }
  });
}

}  // namespace graft
