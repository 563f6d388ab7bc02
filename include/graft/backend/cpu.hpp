// SPDX-License-Identifier: MIT
// The CPU backend: Eigen's tensors, products by an engine (cpu/engine.hpp), one pool of threads.
//
// A program may compile the backend once: define GRAFT_CPU_EXTERN everywhere and add
// backend/cpu_extern.cpp to its sources; no other file then includes Eigen.
#pragma once

#include <graft/backend/host.hpp>
#include <graft/backend/thread_pool.hpp>
#include <graft/core/backend.hpp>

#include <string_view>

namespace graft {

// The operations are described in core/backend.hpp.
template <class T>
struct cpu : host<T> {
  using typename host<T>::view;
  using typename host<T>::const_view;
  using typename host<T>::workspace;
  using ids = std::span<const std::int32_t>;
  using names = std::span<const row_name>;
  using updates = std::span<const row_update<const_view, T>>;

  // Who computes products: eigen, blas or onednn.
  static std::string_view engine_name();

  static void product_nt(view y, const_view x, const_view w, T s, bool add);
  static void product_nn(view y, const_view x, const_view w, T s, bool add);
  static void product_tn(view y, const_view x, const_view w, T s, bool add);
  static void linear(view y, const_view x, const_view w, const_view b);
  static void linear_activated(view y, view z, const_view x, const_view w, const_view b, activation f);
  static bool linear_of(view y, const_view x, const bf16_matrix& w, const_view b);
  static bool linear_of(view y, const_view x, const int8_matrix& w, const_view b);
  static bool product_nn_of(view y, const_view x, const bf16_matrix& w);
  static void add_low_rank(view y, const_view x, updates groups);
  static void sum_rows(view y, const_view x);

  static void copy(view y, const_view x);
  static void fill(view y, T s);
  static void scale(view y, T s);
  static void add(view y, const_view x);
  static void add_scaled(view y, const_view x, T s);
  static void multiply(view y, const_view x);
  static void activate(view y, const_view x, activation f);
  static void activate_backward(view dx, const_view dy, const_view x, activation f);
  static void dropout(view y, const_view x, T rate, dropout_key key, names rows);

  static void add_row(view y, const_view row);
  static void multiply_row(view y, const_view x, const_view row, bool add);
  static void multiply_column(view y, const_view x, const_view column, bool add);
  static void dot_columns(view y, const_view a, const_view b);
  static void dot_rows(view y, const_view a, const_view b, T s, bool add);
  static void divide_by_root(view y, const_view a, const_view b);
  static void scale_sequences(view y, const_view x, const_view g, const layout& rows);
  static void dot_sequences(view y, const_view a, const_view b, const layout& rows);
  static void prepend(view y, const_view p, const_view x, const layout& rows);
  static void prepend_backward(view dp, view dx, const_view dy, const layout& rows);

  static void layer_norm(view y, view stats, const_view x, const_view gain, const_view bias, T eps);
  static void add_layer_norm(view y, view sum, view stats, const_view h, const_view t,
                             const_view gain, const_view bias, T eps);
  static void layer_norm_backward(view dx, const_view dy, const_view x, const_view stats,
                                  const_view gain);
  static void layer_norm_parameters(view dgain, view dbias, const_view dy, const_view x,
                                    const_view stats);

  static void attention(view y, view logs, const_view q, const_view k, const_view v,
                        const attention_call<T>& call, workspace& w);
  static void attention_backward(view dq, view dk, view dv, const_view dy, const_view q,
                                 const_view k, const_view v, const_view logs,
                                 const attention_call<T>& call, workspace& w);

  static void gather(view y, const_view table, ids rows, bool add);
  static void scatter_add(view table, const_view y, ids rows);
  static void pool_first(view y, const_view x, const layout& rows);
  static void pool_first_backward(view dx, const_view dy, const layout& rows);
  static void pool_mean(view y, const_view x, const layout& rows);
  static void pool_mean_backward(view dx, const_view dy, const layout& rows);
  static void normalize_rows(view y, const_view x);

  static void patches(view y, const_view x, const conv_geometry& g);
  static void patches_backward(view dx, const_view dy, const conv_geometry& g);

  static void svd(view u, view s, view v, const_view w);
  static void qr(view q, view r, const_view w);

  static T cross_entropy(view dy, const_view y, const cross_entropy_call<T>& call);
  static T squared_error(view dy, const_view y, const_view target);
  static void softmax(view y, const_view x);

  static double squared_norm(const_view g);
  static void sgd_update(view w, view v, const_view g, const sgd_call<T>& call);
  static void adam_update(view w, view m, view v, const_view g, const adam_call<T>& call);
};

}  // namespace graft

#ifdef GRAFT_CPU_EXTERN
extern template struct graft::cpu<float>;
extern template struct graft::cpu<double>;
#else
#include <graft/backend/cpu/attention.hpp>
#include <graft/backend/cpu/broadcast.hpp>
#include <graft/backend/cpu/elementwise.hpp>
#include <graft/backend/cpu/embedding.hpp>
#include <graft/backend/cpu/factorize.hpp>
#include <graft/backend/cpu/image.hpp>
#include <graft/backend/cpu/loss.hpp>
#include <graft/backend/cpu/low_rank.hpp>
#include <graft/backend/cpu/norm.hpp>
#include <graft/backend/cpu/product.hpp>
#include <graft/backend/cpu/stored_product.hpp>
#include <graft/backend/cpu/update.hpp>
#endif
