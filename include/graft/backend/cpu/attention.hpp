// SPDX-License-Identifier: MIT
// Attention of the CPU backend (Vaswani et al. 2017, arXiv:1706.03762): sequence by sequence, head by head, in
// tiles of query rows whose scores stay in the cache, beside copies of the head's keys and values, turned where
// they are multiplied so. Backward computes the probabilities again from the saved logarithms (Dao et al. 2022,
// arXiv:2205.14135).
#pragma once

#include <graft/backend/cpu.hpp>
#include <graft/backend/cpu/eigen.hpp>
#include <graft/backend/cpu/mask.hpp>
#include <graft/backend/cpu/small_product.hpp>

#include <cmath>
#include <limits>

namespace graft {

namespace detail {

inline constexpr index_t attention_tile = 64;

// Rows of scores begin at whole lanes.
inline index_t padded(index_t keys) { return (keys + lanes - 1) / lanes * lanes; }

// A thread's memory while it computes a head, handed out piece by piece.
template <class T>
struct head_room {
  T* next;

  matrix_view<T> take(index_t rows, index_t cols) {
    const matrix_view<T> piece(next, rows, cols);
    next += rows * cols;
    return piece;
  }
  // A copy of x.
  matrix_view<const T> copy_of(matrix_view<const T> x) {
    const matrix_view<T> y = take(x.rows, x.cols);
    for (index_t i = 0; i < x.rows; ++i)
      each_lane(x.cols, [](lane<T>& to, lane<T>& from) { to = from; }, y.row(i), x.row(i));
    return y;
  }
  // s xᵀ, with columns of zeros up to whole lanes.
  matrix_view<const T> turned(matrix_view<const T> x, T s) {
    const matrix_view<T> y = take(x.cols, padded(x.rows));
    transpose(y, x, s);
    return y;
  }
};

// f(sequence, head, room) for every pair, each on one thread; the room is that thread's, for `tiles` tiles of
// scores, a row of factors, and `copies` copies of a head's keys or values.
template <class T, class F>
void for_each_head(const attention_call<T>& call, index_t tiles, index_t copies, index_t size,
                   host_workspace& w, const F& f) {
  index_t longest = 0, work = 0;
  for (index_t s = 0; s < call.queries->sequences(); ++s) {
    longest = std::max(longest, call.keys->length(s));
    work += call.queries->length(s) * call.keys->length(s) * call.heads * size;
  }
  const index_t one = (tiles * attention_tile + 1 + copies * size) * padded(longest);
  const auto room = host<T>::make(w, threads(), one);
  for_each_task(call.queries->sequences() * call.heads, work, [&](index_t pair, index_t thread) {
    f(pair / call.heads, pair % call.heads, head_room<T>{room.row(thread)});
  });
}

// The rows of sequence s and the columns of head h.
template <class T>
matrix_view<T> head_of(matrix_view<T> v, const layout& rows, index_t s, index_t heads, index_t h) {
  const index_t size = v.cols / heads;
  return v.rows_of(rows.first(s), rows.length(s)).columns(h * size, size);
}

// e ← exp(e - their greatest), of n > 0 numbers followed by room up to whole lanes, which is zero then;
// {the greatest, the sum}.
template <class T>
std::pair<T, T> exponentials(T* e, index_t n) {
  using lane = detail::lane<T>;
  const index_t end = padded(n);
  std::fill(e + n, e + end, -std::numeric_limits<T>::infinity());
  lane high = load(e), sum = 0;
  for (index_t j = lanes; j < end; j += lanes)
    high = high.max(load(e + j));
  const T most = high.largest();
  for (index_t j = 0; j < end; j += lanes) {
    const lane power = (load(e + j) - most).exp();
    store(e + j, power);
    sum += power;
  }
  return {most, sum.sum()};
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
  for_each_head(call, 1, 2, q.cols / heads, w, [&](index_t s, index_t h, head_room<T> room) {
    const const_view queries = head_of(q, *call.queries, s, heads, h);
    const view out = head_of(y, *call.queries, s, heads, h);
    const index_t first = call.queries->first(s), n = call.keys->length(s);
    const const_view keys = room.turned(head_of(k, *call.keys, s, heads, h), call.scale);
    const const_view values = room.copy_of(head_of(v, *call.keys, s, heads, h));
    const view scores = room.take(attention_tile, keys.cols);
    T* factors = room.take(1, keys.cols).data;
    for (index_t i = 0; i < queries.rows; i += attention_tile) {
      const index_t rows = std::min(attention_tile, queries.rows - i);
      const view p = scores.rows_of(0, rows), part = out.rows_of(i, rows);
      alignas(64) T highest[attention_tile], sums[attention_tile];
      small_product(p, as_it_is(queries.rows_of(i, rows)), keys, T(1), false);
      for (index_t r = 0; n > 0 && r < rows; ++r) {
        const auto [most, sum] = exponentials(p.row(r), n);
        highest[r] = most;
        sums[r] = sum;
        if (call.dropout > T(0)) {
          drop.draw(factors, n, static_cast<std::uint32_t>(h) << 20,
                    call.queries->names[static_cast<std::size_t>(first + i + r)]);
          detail::multiply(p.row(r), factors, n);
        }
      }
      if (n == 0) {
        set_zero(part);
        continue;
      }
      small_product(part, as_it_is(p), values, T(1), false);
      for (index_t r = 0; r < rows; ++r)
        each_lane(part.cols, [share = T(1) / sums[r]](lane& e) { e *= share; }, part.row(r));
      each_lane(rows, [](lane& high, lane& sum) { high += sum.log(); }, highest, sums);
      for (index_t r = 0; r < rows; ++r)
        logs(first + i + r, h) = highest[r];
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
  for_each_head(call, 2, 3, q.cols / heads, w, [&](index_t s, index_t h, head_room<T> room) {
    const const_view queries = head_of(q, *call.queries, s, heads, h);
    const const_view slopes = head_of(dy, *call.queries, s, heads, h);
    const view dqueries = head_of(dq, *call.queries, s, heads, h);
    const view dkeys = head_of(dk, *call.keys, s, heads, h);
    const view dvalues = head_of(dv, *call.keys, s, heads, h);
    const index_t first = call.queries->first(s), n = call.keys->length(s);
    const const_view keys = room.copy_of(head_of(k, *call.keys, s, heads, h));
    const const_view turned_keys = room.turned(keys, call.scale);
    const const_view turned_values = room.turned(head_of(v, *call.keys, s, heads, h), T(1));
    const view scores = room.take(attention_tile, padded(n)), dscores = room.take(attention_tile, padded(n));
    T* factors = room.take(1, padded(n)).data;
    if (n == 0)
      set_zero(dqueries);
    if (queries.rows == 0) {
      set_zero(dkeys);
      set_zero(dvalues);
    }
    for (index_t i = 0; n > 0 && i < queries.rows; i += attention_tile) {
      const index_t rows = std::min(attention_tile, queries.rows - i);
      const const_view qs = queries.rows_of(i, rows), ds = slopes.rows_of(i, rows);
      const view p = scores.rows_of(0, rows), dp = dscores.rows_of(0, rows);
      small_product(p, as_it_is(qs), turned_keys, T(1), false);
      small_product(dp, as_it_is(ds), turned_values, T(1), false);
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
      small_product(dvalues, transposed(p), ds, T(1), i > 0);
      small_product(dqueries.rows_of(i, rows), as_it_is(dp.columns(0, n)), keys, call.scale, false);
      small_product(dkeys, transposed(dp), qs, call.scale, i > 0);
    }
  });
}

}  // namespace graft
