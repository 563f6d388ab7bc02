// SPDX-License-Identifier: MIT
// What a backend is: three kinds of storage and a list of plain functions over them.
#pragma once

#include <graft/core/activation.hpp>
#include <graft/core/image.hpp>
#include <graft/core/layout.hpp>
#include <graft/core/quantized.hpp>
#include <graft/core/random.hpp>
#include <graft/core/row_updates.hpp>
#include <graft/core/view.hpp>

#include <concepts>
#include <cstdint>
#include <span>
#include <vector>

namespace graft {

// How queries meet keys: scores are scaled by `scale`, and each sequence of `queries` sees the
// sequence of `keys` with the same number. Probabilities are dropped with rate `dropout` under `key`;
// the mask of (query row, head h, key position j) is word j % 4 of
// philox({h · 2²⁰ + j / 4, token, example, place}, key).
template <class T>
struct attention_call {
  const layout* queries = nullptr;
  const layout* keys = nullptr;
  index_t heads = 1;
  T scale = T(1);
  T dropout = T(0);
  dropout_key key{};
};

// How a class is scored. `weights` is empty or has one weight per class; rows whose label is
// `ignored` do not count. A score of −∞ says that the row cannot be of that class: smoothing spreads
// over the others.
template <class T>
struct cross_entropy_call {
  std::span<const std::int32_t> labels;
  std::span<const T> weights{};
  T smoothing = T(0);
  std::int32_t ignored = -100;
};

// One step of AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101) over a segment; with decay 0 it is
// Adam (Kingma & Ba 2015, arXiv:1412.6980). `step` counts from 1.
template <class T>
struct adam_call {
  T rate, beta1, beta2, epsilon, decay;
  std::int64_t step;
  T gradient_scale = T(1);
};

// One step of stochastic gradient descent with momentum over a segment, as PyTorch's SGD has it:
// v = momentum · v + g;  w -= rate · (g + momentum · v if nesterov, else v);  decay is decoupled:
// w -= rate · decay · w first.
template <class T>
struct sgd_call {
  T rate, momentum, decay;
  bool nesterov;
  T gradient_scale = T(1);
};

// Storage: make(workspace, rows, cols) is a tensor with room for that, make_exact one whose numbers are at
// least floats (statistics, logarithms); on_host(C x) are a matrix's numbers, row after row, in a
// vector<scalar>, once all that makes them is done; from_host(V y, numbers) the other way, of any range of
// numbers. A parameter and a
// frozen weight may lie where the host does not reach: nobody dereferences their `data` but who knows the
// backend. quantized<format> is a matrix in fewer bits where the backend reads it, made of a
// shared_ptr<const quantized_matrix<format>>, or nothing (false); copies share.
//
// The operations, with V = view (may write) and C = const_view. `add` chooses y += … over y = ….
// No output may overlap an input unless said. Sizes are checked by the layers, not here.
//
//   product_nt(V y, C x, C w, s, add)   y [n, o] = s · x [n, i] w [o, i]ᵀ
//   product_nn(V y, C x, C w, s, add)   y [n, i] = s · x [n, o] w [o, i]
//   product_tn(V y, C x, C w, s, add)   y [o, i] = s · x [n, o]ᵀ w [n, i]
//   linear(V y, C x, C w, C b)          y = x wᵀ + b; b [1, o] or empty
//   linear_activated(V y, V z, C x, C w, C b, f)   y = f(z), z = x wᵀ + b; z may be y, where it is not wanted
//   add_low_rank(V y, C x, updates)    y[i] += s · (x[i] aᵀ bᵀ + c), i the rows of each (core/row_updates.hpp)
//   sum_rows(V y, C x)                  y [1, c] += column sums of x
//   copy(V y, C x); fill(V y, s); scale(V y, s); add(V y, C x)  y += x; add_scaled(V y, C x, s)
//   multiply(V y, C x)                 y ∘= x
//   dequantize(V y, q)                 y = the matrix that a quantized<format> q stands for
//   round_rows(V y, C x)               y[i] = x[i] rounded to 8 bits (core/int8_rows.hpp); y may be x
//   bool linear_of(V y, C x, m, C b), bool product_nn_of(V y, C x, m)   optional, of a quantized_matrix m:
//       linear and product_nn computed in its own numbers, to which x is rounded (for int8 as round_rows
//       does); false, and nothing done, where that is not possible here
//   add_row(V y, C row)                every row of y += row [1, c]
//   multiply_row(V y, C x, C row, add) y = x ∘ row, for every row; y may be x
//   multiply_column(V y, C x, C col, add)   y[i] = x[i] · col[i], col [n, 1]; y may be x
//   dot_columns(V y, C a, C b)         y [1, c] += Σ_i a[i] ∘ b[i]
//   dot_rows(V y, C a, C b, s, add)    y [n, 1] = s · Σ_j a ∘ b
//   divide_by_root(V y, C a, C b)      y = a / √b; y may be a
//   activate(V y, C x, f); activate_backward(V dx, C dy, C x, f)  dx = dy ∘ f'(x); y, dx may be x, dy
//   layer_norm(V y, V stats, C x, C gain, C bias, eps)   stats [n, 2] = mean, 1 / sqrt(var + eps)
//   add_layer_norm(V y, V sum, V stats, C h, C t, C gain, C bias, eps)   y = layer_norm of sum = h + t; sum
//       may be h, and y where it is not wanted; y may be h
//   layer_norm_backward(V dx, C dy, C x, C stats, C gain)  dx may be dy
//   layer_norm_parameters(V dgain, V dbias, C dy, C x, C stats)   both +=; dgain may be empty
//   dropout(V y, C x, rate, key, names)   y = x ∘ mask / (1 - rate); y may be x
//   attention(V y, V logs, C q, C k, C v, call, workspace&)   y [n, heads · size], logs [n, heads] =
//       log of each row's sum of exponentials of the scaled scores
//   attention_backward(V dq, V dk, V dv, C dy, C q, C k, C v, C logs, call, workspace&)
//   gather(V y, C table, ids, add)     y[i] = table[ids[i]]
//   scatter_add(V table, C y, ids)     table[ids[i]] += y[i], in the order of i
//   pool_first(V y, C x, layout); pool_first_backward(V dx, C dy, layout)   a sequence's first row
//   pool_mean(V y, C x, layout); pool_mean_backward(V dx, C dy, layout)     the mean of its rows
//   scale_sequences(V y, C x, C g, layout)   the rows of sequence s times g[s], g [sequences, 1]; y may be x
//   dot_sequences(V y, C a, C b, layout)     y [sequences, 1] = Σ a ∘ b over the rows of each sequence
//   prepend(V y, C p, C x, layout)     y [n + sequences · p, c]: the rows p [p, c] before those of every
//       sequence, or its own out of p [sequences · p, c]
//   prepend_backward(V dp, V dx, C dy, layout)   dp +=, dx =; either may be empty
//   patches(V y, C x, conv_geometry)   x [n, pixels · channels] -> y [n · output pixels, patch]: what the
//       kernel sees at each place, channel by channel, of each its rows and columns; zero beyond the edge
//   patches_backward(V dx, C dy, conv_geometry)   dx = the sum, for each pixel, over the patches it is in
//   svd(V u, V s, V v, C w)            the k = s.cols greatest singular values s [1, k] of w [o, i] and their
//       vectors: u [o, k], v [k, i];  qr(V q, V r, C w)  the first columns of Q and rows of R of w = Q R
//   normalize_rows(V y, C x)           y = x / |x|; y may be x
//   T cross_entropy(V dy, C y, call)   Σ w_c (−log softmax(y)_c) / Σ w_c over the rows that count,
//       smoothing as PyTorch's cross_entropy; dy (empty: not wanted) = its gradient. 0 if none counts
//   T squared_error(V dy, C y, C target)   mean over all elements; dy may be empty
//   softmax(V y, C x)                  rows; y may be x
//   double squared_norm(C g)           Σ g², summed in fixed blocks
//   sgd_update(V w, V v, C g, call); adam_update(V w, V m, V v, C g, call)   contiguous, of one size
//
// Losses may be readings (core/reading.hpp) instead of T. A backend whose device makes whole steps names
// more: train/step_work.hpp.
//
// All sums are over fixed blocks in a fixed order: equal inputs give equal bits for one thread count.
template <class B>
concept backend = requires(typename B::view y, typename B::const_view x, typename B::scalar s,
                           typename B::workspace& w, std::span<const std::int32_t> ids,
                           const layout& rows,
                           std::span<const row_update<typename B::const_view, typename B::scalar>> u) {
  typename B::tensor;
  typename B::parameter;
  typename B::frozen_weight;
  { B::make(w, index_t{}, index_t{}) } -> std::same_as<typename B::tensor>;
  { B::make_exact(w, index_t{}, index_t{}) } -> std::same_as<typename B::tensor>;
  { B::on_host(x) } -> std::same_as<std::vector<typename B::scalar>>;
  B::from_host(y, std::span<const typename B::scalar>{});
  B::product_nt(y, x, x, s, true);
  B::product_nn(y, x, x, s, true);
  B::product_tn(y, x, x, s, true);
  B::linear(y, x, x, x);
  B::linear_activated(y, y, x, x, x, activation::relu);
  B::add_low_rank(y, x, u);
  B::sum_rows(y, x);
  B::copy(y, x);
  B::fill(y, s);
  B::scale(y, s);
  B::add(y, x);
  B::add_scaled(y, x, s);
  B::multiply(y, x);
  B::dequantize(y, typename B::template quantized<number_format::bf16>());
  B::dequantize(y, typename B::template quantized<number_format::int8>());
  B::dequantize(y, typename B::template quantized<number_format::nf4>());
  B::round_rows(y, x);
  B::add_row(y, x);
  B::multiply_row(y, x, x, true);
  B::multiply_column(y, x, x, true);
  B::dot_columns(y, x, x);
  B::dot_rows(y, x, x, s, true);
  B::divide_by_root(y, x, x);
  B::activate(y, x, activation::relu);
  B::activate_backward(y, x, x, activation::relu);
  B::layer_norm(y, y, x, x, x, s);
  B::add_layer_norm(y, y, y, x, x, x, x, s);
  B::layer_norm_backward(y, x, x, x, x);
  B::layer_norm_parameters(y, y, x, x, x);
  B::dropout(y, x, s, dropout_key{}, std::span<const row_name>{});
  B::attention(y, y, x, x, x, attention_call<typename B::scalar>{}, w);
  B::attention_backward(y, y, y, x, x, x, x, x, attention_call<typename B::scalar>{}, w);
  B::gather(y, x, ids, true);
  B::scatter_add(y, x, ids);
  B::pool_first(y, x, rows);
  B::pool_mean(y, x, rows);
  B::scale_sequences(y, x, x, rows);
  B::dot_sequences(y, x, x, rows);
  B::prepend(y, x, x, rows);
  B::prepend_backward(y, y, x, rows);
  B::patches(y, x, conv_geometry{});
  B::patches_backward(y, x, conv_geometry{});
  B::svd(y, y, y, x);
  B::qr(y, y, x);
};

}  // namespace graft
