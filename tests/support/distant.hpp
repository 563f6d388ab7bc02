// SPDX-License-Identifier: MIT
// The reference backend in a memory of its own, that counts what crosses its border.
#pragma once

#include <graft/backend/reference.hpp>

#include <cstddef>
#include <utility>
#include <vector>

namespace graft_test {

struct distant_memory : graft::host_memory {};

struct distant : graft::reference<double> {
  using workspace = graft::workspace_over<distant_memory>;
  struct tensor : view {
    workspace::lease memory;
    tensor() = default;
    tensor(view v) : view(v) {}
    tensor(view v, workspace::lease m) : view(v), memory(std::move(m)) {}
    bool unique() const { return memory.unique(); }
    tensor columns(graft::index_t from, graft::index_t count) const {
      return {view::columns(from, count), memory};
    }
    tensor rows_of(graft::index_t from, graft::index_t count) const {
      return {view::rows_of(from, count), memory};
    }
  };
  struct parameter : graft::host_parameter<double> {
    using graft::host_parameter<double>::host_parameter;
  };

  static inline int arrived = 0, left = 0;

  static tensor make(workspace& w, graft::index_t rows, graft::index_t cols) {
    auto [data, lease] = w.take(static_cast<std::size_t>(rows * cols) * sizeof(double));
    return {view{static_cast<double*>(data), rows, cols}, std::move(lease)};
  }
  static tensor make_exact(workspace& w, graft::index_t rows, graft::index_t cols) {
    return make(w, rows, cols);
  }
  static void attention(view y, view logs, const_view q, const_view k, const_view v,
                        const graft::attention_call<double>& call, workspace&) {
    graft::host_workspace room;
    reference<double>::attention(y, logs, q, k, v, call, room);
  }
  static void attention_backward(view dq, view dk, view dv, const_view dy, const_view q,
                                 const_view k, const_view v, const_view logs,
                                 const graft::attention_call<double>& call, workspace&) {
    graft::host_workspace room;
    reference<double>::attention_backward(dq, dk, dv, dy, q, k, v, logs, call, room);
  }
  static std::vector<double> on_host(const_view x) {
    ++left;
    return reference<double>::on_host(x);
  }
  template <class Numbers>
  static void from_host(view y, const Numbers& values) {
    ++arrived;
    reference<double>::from_host(y, values);
  }
};

}  // namespace graft_test
