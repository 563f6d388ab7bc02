// SPDX-License-Identifier: MIT
// A classification head for each of several tasks.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/layer.hpp>
#include <graft/core/layout.hpp>
#include <graft/core/site.hpp>
#include <graft/model/bert.hpp>
#include <graft/model/heads.hpp>

#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace graft {

// One row per sequence -> logits of all tasks side by side: those of its task are what its head
// makes of the row, the others −∞. Head i is at head.i. Keeps what the heads keep.
//
// Throws input_error for a sequence of a task without a head.
template <backend Backend, class Scope>
struct task_heads {
  using backend_type = Backend;
  using B = backend_type;
  using tensor = typename B::tensor;
  using head_type = classification_head<B, Scope>;

  std::vector<head_type> heads;

  task_heads() = default;
  // labels[i] classes for task i.
  task_heads(const bert_config& c, const std::vector<index_t>& labels) {
    for (index_t n : labels)
      heads.emplace_back(c, n);
  }

  index_t in() const { return heads.empty() ? 0 : heads.front().in(); }
  index_t out() const {
    index_t n = 0;
    for (const head_type& head : heads)
      n += head.out();
    return n;
  }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::base, z.heads...);
  }

  struct mirror {
    std::vector<gradient_t<head_type>> heads;
  };
  using gradient = std::conditional_t<trainable<head_type>, mirror, nothing>;
  void shape(mirror& g) const { g.heads.resize(heads.size()); }

  template <demand D>
  struct cache {
    std::vector<cache_t<head_type, D>> heads;
  };

  template <demand D>
  tensor forward(const tensor& x, cache<D>& c, const context<B>& k) const {
    const std::vector<row_share> shares = shares_of(k.batch);
    c.heads.resize(heads.size());
    // Task by task, then every row to its place.
    tensor sorted = k.make(x.rows, out()), y = k.make(x.rows, out());
    B::fill(sorted, -std::numeric_limits<typename B::scalar>::infinity());
    std::vector<std::int32_t> place(static_cast<std::size_t>(x.rows));
    index_t row = 0, column = 0;
    for (std::size_t i = 0; i < heads.size(); ++i) {
      const row_share& share = shares[i];
      const index_t rows = share.rows.rows(), labels = heads[i].out();
      if (rows > 0)
        B::copy(sorted.rows_of(row, rows).columns(column, labels),
                heads[i].template forward<D>(rows_of(x, share, k), c.heads[i], k.with(share.rows)));
      for (std::int32_t id : share.ids)
        place[static_cast<std::size_t>(id)] = static_cast<std::int32_t>(row++);
      column += labels;
    }
    B::gather(y, sorted, place, false);
    return y;
  }

  template <demand D, class G>
  auto backward(tensor dy, cache<D>& c, G* g, const context<B>& k) const {
    if constexpr (!reached<head_type>(D)) {
      return nothing{};
    } else {
      const std::vector<row_share> shares = shares_of(k.batch);
      tensor dx;
      if constexpr (D.input) {
        dx = k.make(dy.rows, in());
        B::fill(dx, 0);
      }
      index_t column = 0;
      for (std::size_t i = 0; i < heads.size(); ++i) {
        const row_share& share = shares[i];
        const index_t labels = heads[i].out();
        if (!share.ids.empty()) {
          auto d =
              heads[i].template backward<D>(k.copy(rows_of(dy, share, k).columns(column, labels)),
                                            c.heads[i], gradient_of<D>(g, i), k.with(share.rows));
          if constexpr (D.input)
            B::scatter_add(dx, d, share.ids);
        }
        column += labels;
      }
      if constexpr (D.input)
        return dx;
      else
        return nothing{};
    }
  }

 private:
  std::vector<row_share> shares_of(const layout& batch) const {
    std::vector<row_share> shares(heads.size());
    for (index_t s = 0; s < batch.sequences(); ++s) {
      if (batch.task(s) >= heads.size())
        throw input_error("task_heads: expected sequences of tasks below " +
                          std::to_string(heads.size()) + ", found one of task " +
                          std::to_string(batch.task(s)));
      shares[batch.task(s)].take(batch, s);
    }
    return shares;
  }
  static tensor rows_of(const tensor& x, const row_share& share, const context<B>& k) {
    tensor mine = k.make(share.rows.rows(), x.cols);
    B::gather(mine, x, share.ids, false);
    return mine;
  }
  template <demand D, class G>
  static auto gradient_of([[maybe_unused]] G* g, [[maybe_unused]] std::size_t i) {
    if constexpr (D.trains() && !std::is_same_v<G, nothing>)
      return &g->heads[i];
    else
      return static_cast<nothing*>(nullptr);
  }
};

}  // namespace graft
