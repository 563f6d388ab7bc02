// SPDX-License-Identifier: MIT
// The operations of core/backend.hpp as launches on a device, at once or as one step of work
// (recorded_device.hpp); those that are more than a launch are in operations/.
#pragma once

#include <graft/backend/cuda/device_view.hpp>
#include <graft/backend/cuda/kernels/columns.hpp>
#include <graft/backend/cuda/kernels/elementwise.hpp>
#include <graft/backend/cuda/kernels/image.hpp>
#include <graft/backend/cuda/kernels/quantized.hpp>
#include <graft/backend/cuda/kernels/rows.hpp>
#include <graft/backend/cuda/kernels/sequences.hpp>
#include <graft/backend/cuda/kernels/update.hpp>
#include <graft/backend/cuda/operations/attention.hpp>
#include <graft/backend/cuda/operations/factorize.hpp>
#include <graft/backend/cuda/operations/loss.hpp>
#include <graft/backend/cuda/operations/product.hpp>
#include <graft/backend/cuda/operations/update.hpp>
#include <graft/backend/cuda/product.hpp>
#include <graft/backend/cuda/quantized.hpp>
#include <graft/backend/cuda/recorded_device.hpp>
#include <graft/backend/cuda/staging.hpp>
#include <graft/backend/cuda/step_state.hpp>
#include <graft/backend/cuda/storage.hpp>
#include <graft/core/backend.hpp>
#include <graft/core/reading.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace graft {

// Numbers of type T (float, tf32, bf16, fp16) in the tensors of a step and in frozen matrices; parameters,
// their gradients, statistics and losses are floats. A 16-bit product is summed in floats.
template <class T, class Device>
struct gpu {
  using device = Device;
  using number = T;
  using scalar = float;
  using workspace = workspace_over<Device>;
  using tensor = device_tensor<Device>;
  using parameter = device_parameter<Device>;
  using frozen_weight = device_weight<Device, T>;
  using view = device_view;
  using const_view = const_device_view;
  template <number_format Format>
  using quantized = device_quantized<Device, Format>;
  using ids = std::span<const std::int32_t>;
  using names = std::span<const row_name>;
  using updates = std::span<const row_update<const_view, float>>;

  // An uninitialised [rows, cols] …
  static tensor make(workspace& w, index_t rows, index_t cols) {
    return made(w, rows, cols, number_type_of<T>);
  }
  // … of floats: what loses too much in 16 bits.
  static tensor make_exact(workspace& w, index_t rows, index_t cols) {
    return made(w, rows, cols, number_type::f32);
  }

  static void product_nt(view y, const_view x, const_view w, float s, bool add) {
    product({y, x, w, false, true, s, add});
  }
  static void product_nn(view y, const_view x, const_view w, float s, bool add) {
    product({y, x, w, false, false, s, add});
  }
  static void product_tn(view y, const_view x, const_view w, float s, bool add) {
    product({y, x, w, true, false, s, add});
  }
  static void linear(view y, const_view x, const_view w, const_view b) {
    product({y, x, w, false, true, 1, false, b});
  }
  // A frozen bias is at hand in the numbers of y.
  template <std::same_as<frozen_weight> Bias>
  static void linear(view y, const_view x, const_view w, const Bias& b) {
    linear(y, x, w, y.type == number_type_of<T> ? b.rounded() : const_view(b));
  }
  static void linear_activated(view y, view z, const_view x, const_view w, const_view b,
                               activation f) {
    if (b.data && b.type != z.type) {
      product_nt(z, x, w, 1, false);
      columns(y, kernels::add_row_activate{y, z, b, f});
    } else {
      linear(z, x, w, b);
      activate(y, z, f);
    }
  }
  template <std::same_as<frozen_weight> Bias>
  static void linear_activated(view y, view z, const_view x, const_view w, const Bias& b,
                               activation f) {
    linear_activated(y, z, x, w, z.type == number_type_of<T> ? b.rounded() : const_view(b), f);
  }
  static void add_low_rank(view y, const_view x, updates groups) {
    for (const auto& u : groups) {
      if (u.rows == 0)
        continue;
      const scratch h(u.rows, u.a.rows, number_type_of<T>);
      const view rows = y.rows_of(u.first, u.rows);
      product_nt(h, x.rows_of(u.first, u.rows), u.a, 1, false);
      product_nt(rows, h, u.b, u.scale, true);
      if (u.bias.data)
        columns(rows, kernels::add_row{rows, u.bias, u.scale});
    }
  }

  static void copy(view y, const_view x) { columns(y, kernels::copy{y, x}); }
  static void fill(view y, float s) { columns(y, kernels::fill{y, s}); }
  static void scale(view y, float s) { columns(y, kernels::scale{y, s}); }
  static void add(view y, const_view x) { add_scaled(y, x, 1); }
  static void add_scaled(view y, const_view x, float s) { columns(y, kernels::add_scaled{y, x, s}); }
  static void dequantize(view y, const quantized<number_format::bf16>& q) {
    each(y, kernels::dequantize_bf16{y, q.view()});
  }
  static void dequantize(view y, const quantized<number_format::int8>& q) {
    each(y, kernels::dequantize_int8{y, q.view()});
  }
  static void dequantize(view y, const quantized<number_format::nf4>& q) {
    each(y, kernels::dequantize_nf4{y, q.view()});
  }
  static void multiply(view y, const_view x) { columns(y, kernels::multiply{y, x}); }
  static void add_row(view y, const_view row) { columns(y, kernels::add_row{y, row, 1}); }
  static void multiply_row(view y, const_view x, const_view row, bool add) {
    columns(y, kernels::multiply_row{y, x, row, add});
  }
  static void multiply_column(view y, const_view x, const_view column, bool add) {
    columns(y, kernels::multiply_column{y, x, column, add});
  }
  static void divide_by_root(view y, const_view a, const_view b) {
    columns(y, kernels::divide_by_root{y, a, b});
  }
  static void activate(view y, const_view x, activation f) { columns(y, kernels::activate{y, x, f}); }
  static void activate_backward(view dx, const_view dy, const_view x, activation f) {
    columns(dx, kernels::activate_backward{dx, dy, x, f});
  }
  static void dropout(view y, const_view x, float rate, dropout_key key, names rows) {
    const staged<row_name> who(rows, true);
    const staged_mask mask(rate, key);
    Device::each(y.rows, (y.cols + 3) / 4, kernels::dropout{y, x, mask.mask(), who.data()});
  }

  static void sum_rows(view y, const_view x) {
    add_columns(y, x, [&](view sums) { return kernels::sum_block{sums, x}; });
  }
  static void dot_columns(view y, const_view a, const_view b) {
    add_columns(y, a, [&](view sums) { return kernels::dot_block{sums, a, b}; });
  }
  static void dot_rows(view y, const_view a, const_view b, float s, bool add) {
    Device::warps(a.rows, kernels::dot_rows{y, a, b, s, add});
  }
  static void normalize_rows(view y, const_view x) {
    Device::warps(x.rows, kernels::normalize_rows{y, x});
  }
  static void round_rows(view y, const_view x) { Device::warps(x.rows, kernels::round_rows{y, x}); }
  static void softmax(view y, const_view x) { Device::warps(x.rows, kernels::softmax{y, x}); }

  static void layer_norm(view y, view stats, const_view x, const_view gain, const_view bias,
                         float epsilon) {
    Device::warps(x.rows, kernels::layer_norm{{y, stats, gain, bias, epsilon}, x});
  }
  static void add_layer_norm(view y, view sum, view stats, const_view h, const_view t,
                             const_view gain, const_view bias, float epsilon) {
    Device::warps(h.rows, kernels::add_layer_norm{{y, stats, gain, bias, epsilon}, sum, h, t});
  }
  static void layer_norm_backward(view dx, const_view dy, const_view x, const_view stats,
                                  const_view gain) {
    Device::warps(x.rows, kernels::layer_norm_backward{dx, dy, x, stats, gain});
  }
  static void layer_norm_parameters(view dgain, view dbias, const_view dy, const_view x,
                                    const_view stats) {
    if (dgain.data)
      add_columns(dgain, x, [&](view sums) { return kernels::norm_gain_block{sums, dy, x, stats}; });
    sum_rows(dbias, dy);
  }

  // Throws shape_error for heads wider than kernels::widest_head.
  static void attention(view y, view logs, const_view q, const_view k, const_view v,
                        const attention_call<float>& call, workspace&) {
    detail::attention_on<T, Device>(y, logs, q, k, v, call);
  }
  static void attention_backward(view dq, view dk, view dv, const_view dy, const_view q,
                                 const_view k, const_view v, const_view logs,
                                 const attention_call<float>& call, workspace&) {
    detail::attention_backward_on<T, Device>(dq, dk, dv, dy, q, k, v, logs, call);
  }

  static void gather(view y, const_view table, ids rows, bool add) {
    const staged<std::int32_t> which(rows);
    columns(y, kernels::gather{y, table, which.data(), add});
  }
  static void scatter_add(view table, const_view y, ids rows) {
    const detail::id_runs runs(rows);
    const staged<std::int32_t> to(runs.ids), from(runs.starts), of(runs.order);
    Device::each(static_cast<index_t>(rows.size()), y.cols,
                 kernels::scatter_add{table, y, to.data(), from.data(), of.data()});
  }

  static void pool_first(view y, const_view x, const layout& rows) {
    each(y, kernels::pool_first{y, x, staged_rows(rows).map()});
  }
  static void pool_first_backward(view dx, const_view dy, const layout& rows) {
    each(dx, kernels::pool_first_backward{dx, dy, staged_rows(rows).map()});
  }
  static void pool_mean(view y, const_view x, const layout& rows) {
    each(y, kernels::pool_mean{y, x, staged_rows(rows).map()});
  }
  static void pool_mean_backward(view dx, const_view dy, const layout& rows) {
    each(dx, kernels::pool_mean_backward{dx, dy, staged_rows(rows).map()});
  }
  static void scale_sequences(view y, const_view x, const_view g, const layout& rows) {
    each(y, kernels::scale_sequences{y, x, g, staged_rows(rows).map()});
  }
  static void dot_sequences(view y, const_view a, const_view b, const layout& rows) {
    Device::warps(rows.sequences(), kernels::dot_sequences{y, a, b, staged_rows(rows).map()});
  }
  static void prepend(view y, const_view p, const_view x, const layout& rows) {
    if (rows.sequences() == 0)
      return;
    const index_t more = (y.rows - x.rows) / rows.sequences();
    const staged_rows map(rows);
    const staged<std::int32_t> longer(detail::sequence_of_rows(rows, more));
    each(y, kernels::prepend{y, p, x, map.map(), more, longer.data()});
  }
  static void prepend_backward(view dp, view dx, const_view dy, const layout& rows) {
    if (rows.sequences() == 0)
      return;
    const index_t more = (dy.rows - rows.rows()) / rows.sequences();
    const staged_rows map(rows);
    if (dx.data)
      each(dx, kernels::prepend_backward_rows{dx, dy, map.map(), more});
    if (dp.data)
      each(dp, kernels::prepend_backward_prompt{dp, dy, map.map(), more, rows.sequences()});
  }

  static void patches(view y, const_view x, const conv_geometry& g) {
    each(y, kernels::patches{y, x, kernels::patch_walk(g)});
  }
  static void patches_backward(view dx, const_view dy, const conv_geometry& g) {
    each(dx, kernels::patches_backward{dx, dy, kernels::patch_walk(g)});
  }

  static void svd(view u, view s, view v, const_view w) { detail::svd_on_host<gpu>(u, s, v, w); }
  static void qr(view q, view r, const_view w) { detail::qr_on_host<gpu>(q, r, w); }

  static reading cross_entropy(view dy, const_view y, const cross_entropy_call<float>& call) {
    return detail::cross_entropy_on<Device>(dy, y, call);
  }
  static reading squared_error(view dy, const_view y, const_view target) {
    return detail::squared_error_on<Device>(dy, y, target);
  }

  static double squared_norm(const_view g) {
    return detail::block_squares<Device>(g).sums.sum();
  }
  static void sgd_update(view w, view v, const_view g, const sgd_call<float>& call) {
    const segment_rate all{0, call.rate, call.decay};
    sgd_segments(w, v, g, std::span(&all, 1), call, nullptr);
  }
  static void adam_update(view w, view m, view v, const_view g, const adam_call<float>& call) {
    const segment_rate all{0, call.rate, call.decay};
    adam_segments(w, m, v, g, std::span(&all, 1), call, nullptr);
  }

  // All segments of a store in one launch: rates and decay are theirs; gradient_scale and step the
  // call's or, where a state is given, what judge() found.
  using segment_rate = kernels::segment_terms;
  using step_state = device_step_state<Device>;
  static void sgd_segments(view w, view v, const_view g, std::span<const segment_rate> segments,
                           const sgd_call<float>& call, const step_state* state) {
    detail::sgd_on(w, v, g, segments, call, state);
  }
  static void adam_segments(view w, view m, view v, const_view g,
                            std::span<const segment_rate> segments, const adam_call<float>& call,
                            const step_state* state) {
    detail::adam_on(w, m, v, g, segments, call, state);
  }

  // Gradients of fp16 are those of a multiple of the loss, so that small ones are not lost: the loss's own
  // times the state's scale, the sums' over it.
  static constexpr bool scales_loss = number_type_of<T> == number_type::f16;
  static step_state make_step_state() { return step_state(scales_loss ? 65536.0f : 1.0f); }
  static void scale_loss(view dy, const step_state& state) {
    each(dy, kernels::scale_by{dy, state.loss_scale(), false});
  }
  static void unscale(view g, const step_state& state) {
    each(g, kernels::scale_by{g, state.loss_scale(), true});
  }
  // Decides on the device what the gradient of a step is multiplied with, and whether the step is taken:
  // not where its norm is no finite number. (`limit` 0: as it is.) β₁ and β₂ are those of the update.
  static step_verdict judge(step_state& state, const_view g, double limit, double beta1,
                            double beta2) {
    return detail::judge_on(state, g, limit, beta1, beta2, scales_loss);
  }

  // A step of this thread's work that is launched as one (device_step).
  using step = device_step<Device>;

  // A matrix's numbers, row after row, once all that makes them is done; and the other way.
  static std::vector<float> on_host(const_view x) {
    std::vector<float> values(std::size_t(x.size()));
    if (x.size() == 0)
      return values;
    const scratch whole(x.rows, x.cols, number_type::f32);
    copy(whole, x);
    Device::download(values.data(), whole.floats(), values.size() * sizeof(float));
    return values;
  }
  template <class Numbers>
  static void from_host(view y, const Numbers& values) {
    const std::vector<float> floats(values.begin(), values.end());
    const staged<float> from(floats);
    copy(y, const_view(from.data(), y.rows, y.cols));
    if (!Device::in_step())
      Device::wait();  // what the host gave may be used by any of its threads
  }

 private:
  using scratch = detail::scratch_matrix<Device>;
  template <class U>
  using staged = detail::staged_values<Device, U>;
  using staged_rows = detail::staged_rows<Device>;
  using staged_mask = detail::staged_mask<Device>;

  static tensor made(workspace& w, index_t rows, index_t cols, number_type type) {
    auto [data, lease] = w.take(static_cast<std::size_t>(rows * cols) *
                                static_cast<std::size_t>(bytes_of(type)));
    return {view{data, rows, cols, cols, type}, std::move(lease)};
  }

  template <class K>
  static void each(const view& y, const K& k) {
    Device::each(y.rows, y.cols, k);
  }

  // For kernels that make some columns at a time.
  template <class K>
  static void columns(const view& y, const K& k) {
    Device::each(y.rows, kernels::groups_of_columns(y.cols), k);
  }

  // y [1, c] += the sums over the blocks that block(sums) makes of x's rows.
  template <class F>
  static void add_columns(view y, const_view x, const F& block) {
    const index_t blocks = (x.rows + kernels::rows_of_block - 1) / kernels::rows_of_block;
    if (blocks == 0)
      return;
    const scratch sums(blocks, x.cols, number_type::f32);
    each(sums, block(sums));
    Device::each(1, x.cols, kernels::fold{y, sums, 1});
  }

  static void product(const device_product& p) { detail::product_on<gpu>(p); }
};

}  // namespace graft
