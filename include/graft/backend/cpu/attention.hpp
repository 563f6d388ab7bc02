// SPDX-License-Identifier: MIT
// Attention of the CPU backend (Vaswani et al. 2017, arXiv:1706.03762): sequence by sequence, head
// by head, in tiles of query rows whose scores stay in cache. Backward computes the probabilities
// again from the saved logarithms (Dao et al. 2022, arXiv:2205.14135).
#pragma once

#include <graft/backend/cpu.hpp>
#include <graft/backend/cpu/eigen.hpp>
#include <graft/backend/cpu/mask.hpp>

#include <cmath>
#include <limits>

namespace graft {

namespace detail {

inline constexpr index attention_tile = 64;

// Calls f(sequence, head, room) for every pair, each on one thread with `tiles` score tiles and a
// row of its own in `room`.
template <class T, class F>
void for_each_head(const attention_call<T>& call, index tiles, index size, host_workspace& w,
                   const F& f) {
  index longest = 0, work = 0;
  for (index s = 0; s < call.queries->sequences(); ++s) {
    longest = std::max(longest, call.keys->length(s));
    work += call.queries->length(s) * call.keys->length(s) * call.heads * size;
  }
  const index room = (tiles * attention_tile + 1) * longest;
  auto scratch = host<T>::make(w, threads(), room);
  for_each_task(call.queries->sequences() * call.heads, work, [&](index pair, index thread) {
    f(pair / call.heads, pair % call.heads, scratch.row(thread));
  });
}

// The rows of sequence s and the columns of head h.
template <class T>
matrix_view<T> head_of(matrix_view<T> v, const layout& rows, index s, index heads, index h) {
  const index size = v.cols / heads;
  return v.rows_of(rows.first(s), rows.length(s)).columns(h * size, size);
}

}  // namespace detail

template <class T>
void cpu<T>::attention(view y, view logs, const_view q, const_view k, const_view v,
                       const attention_call<T>& call, workspace& w) {
  using lane = detail::lane<T>;
  const index heads = call.heads;
  const row_name* names = call.queries->names.data();
  const detail::dropper<T> drop(call.dropout, call.key);
  detail::for_each_head(call, 1, q.cols / heads, w, [&](index s, index h, T* room) {
    const const_view qs = detail::head_of(q, *call.queries, s, heads, h);
    const const_view ks = detail::head_of(k, *call.keys, s, heads, h);
    const const_view vs = detail::head_of(v, *call.keys, s, heads, h);
    const view ys = detail::head_of(y, *call.queries, s, heads, h);
    const index first = call.queries->first(s), n = ks.rows;
    const auto base = static_cast<std::uint32_t>(h) << 20;
    T* factors = room + detail::attention_tile * n;
    for (index i = 0; i < qs.rows; i += detail::attention_tile) {
      const index rows = std::min(detail::attention_tile, qs.rows - i);
      const view p(room, rows, n);
      auto out = detail::map(ys.rows_of(i, rows));
      out.setZero();
      detail::map(p).noalias() =
          call.scale * detail::map(qs.rows_of(i, rows)) * detail::map(ks).transpose();
      T sums[detail::attention_tile];
      for (index r = 0; r < rows; ++r) {
        const index row = first + i + r;
        T* scores = p.row(r);
        const T most = n > 0 ? detail::max_of(scores, n) : -std::numeric_limits<T>::infinity();
        detail::each_lane(
            n, [most](lane& e) { e = (e - most).exp(); }, scores);
        sums[r] = detail::sum_lanes(
            n, [](const lane& e) { return e; }, scores);
        logs(row, h) = n > 0 ? most + std::log(sums[r]) : most;
        if (call.dropout > T(0)) {
          drop.draw(factors, n, base, names[row]);
          detail::each_lane(
              n, [](lane& e, lane& f) { e *= f; }, scores, factors);
        }
      }
      if (n == 0)
        continue;
      out.noalias() += detail::map(p) * detail::map(vs);
      for (index r = 0; r < rows; ++r)
        out.row(r) /= sums[r];
    }
  });
}

template <class T>
void cpu<T>::attention_backward(view dq, view dk, view dv, const_view dy, const_view q,
                                const_view k, const_view v, const_view logs,
                                const attention_call<T>& call, workspace& w) {
  using lane = detail::lane<T>;
  const index heads = call.heads;
  const row_name* names = call.queries->names.data();
  const detail::dropper<T> drop(call.dropout, call.key);
  detail::for_each_head(call, 2, q.cols / heads, w, [&](index s, index h, T* room) {
    const const_view qs = detail::head_of(q, *call.queries, s, heads, h);
    const const_view ks = detail::head_of(k, *call.keys, s, heads, h);
    const const_view vs = detail::head_of(v, *call.keys, s, heads, h);
    const const_view gs = detail::head_of(dy, *call.queries, s, heads, h);
    const view dqs = detail::head_of(dq, *call.queries, s, heads, h);
    auto dks = detail::map(detail::head_of(dk, *call.keys, s, heads, h));
    auto dvs = detail::map(detail::head_of(dv, *call.keys, s, heads, h));
    const index first = call.queries->first(s), n = ks.rows;
    const auto base = static_cast<std::uint32_t>(h) << 20;
    T* factors = room + 2 * detail::attention_tile * n;
    dks.setZero();
    dvs.setZero();
    for (index i = 0; i < qs.rows; i += detail::attention_tile) {
      const index rows = std::min(detail::attention_tile, qs.rows - i);
      const view p(room, rows, n), ds(room + detail::attention_tile * n, rows, n);
      auto dqi = detail::map(dqs.rows_of(i, rows));
      const auto qi = detail::map(qs.rows_of(i, rows)), gi = detail::map(gs.rows_of(i, rows));
      dqi.setZero();
      if (n == 0)
        continue;
      detail::map(p).noalias() = call.scale * qi * detail::map(ks).transpose();
      detail::map(ds).noalias() = gi * detail::map(vs).transpose();
      for (index r = 0; r < rows; ++r) {
        const index row = first + i + r;
        T *prob = p.row(r), *grad = ds.row(r);
        const T log = logs(row, h);
        if (call.dropout > T(0)) {
          drop.draw(factors, n, base, names[row]);
          detail::each_lane(
              n, [](lane& g, lane& f) { g *= f; }, grad, factors);
        }
        detail::each_lane(
            n, [log](lane& e) { e = (e - log).exp(); }, prob);
        const T dot = detail::sum_lanes(
            n, [](const lane& e, const lane& g) { return lane(e * g); }, prob, grad);
        const auto slope = [&, dot](lane& g, lane& e) { g = call.scale * e * (g - dot); };
        detail::each_lane(n, slope, grad, prob);
        if (call.dropout > T(0))
          detail::each_lane(
              n, [](lane& e, lane& f) { e *= f; }, prob, factors);
      }
      dvs.noalias() += detail::map(p).transpose() * gi;
      dqi.noalias() += detail::map(ds) * detail::map(ks);
      dks.noalias() += detail::map(ds).transpose() * qi;
    }
  });
}

}  // namespace graft
