// SPDX-License-Identifier: MIT
// The operations of core/backend.hpp as launches on a device, at once or as one step of work
// (recorded_device.hpp).
#pragma once

#include <graft/backend/cuda/device_view.hpp>
#include <graft/backend/cuda/kernels/attention.hpp>
#include <graft/backend/cuda/kernels/columns.hpp>
#include <graft/backend/cuda/kernels/elementwise.hpp>
#include <graft/backend/cuda/kernels/image.hpp>
#include <graft/backend/cuda/kernels/loss.hpp>
#include <graft/backend/cuda/kernels/quantized.hpp>
#include <graft/backend/cuda/kernels/rows.hpp>
#include <graft/backend/cuda/kernels/sequences.hpp>
#include <graft/backend/cuda/kernels/thin_product.hpp>
#include <graft/backend/cuda/kernels/tiled_attention.hpp>
#include <graft/backend/cuda/kernels/update.hpp>
#include <graft/backend/cuda/product.hpp>
#include <graft/backend/cuda/quantized.hpp>
#include <graft/backend/cuda/recorded_device.hpp>
#include <graft/backend/cuda/staging.hpp>
#include <graft/backend/cuda/step_state.hpp>
#include <graft/backend/cuda/storage.hpp>
#include <graft/backend/reference/factorize.hpp>
#include <graft/core/backend.hpp>
#include <graft/core/error.hpp>
#include <graft/core/reading.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <numeric>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace graft {

// Numbers of type T (float, tf32, bf16, fp16) in the tensors of a step and in frozen matrices; parameters, their gradients,
// statistics and losses are floats. A 16-bit product is summed in floats.
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
    const auto tiled = [&](auto size) {
      using kernel = kernels::tiled_attention<T, size>;
      const staged<row_name> names(names_for_dropout(call), true);
      const staged_mask mask(call.dropout, call.key);
      const staged_tiles tiles(*call.queries, *call.keys, kernel::rows);
      Device::blocks(tiles.count * call.heads,
                     kernel{y, logs, q, k, v, tiled_shape(call, names, mask), tiles.data()});
    };
    if (with_tiles(tiled, call, {y, q, k, v}))
      return;
    const staged_attention a(call, q, v);
    Device::warps(q.rows * call.heads, kernels::attention{y, logs, q, k, v, a.shape});
  }
  static void attention_backward(view dq, view dk, view dv, const_view dy, const_view q,
                                 const_view k, const_view v, const_view logs,
                                 const attention_call<float>& call, workspace&) {
    const auto tiled = [&](auto size) {
      using of_queries = kernels::tiled_attention_queries<T, size>;
      using of_keys = kernels::tiled_attention_keys<T, size>;
      const scratch two(call.heads, 2 * q.rows, number_type::f32);
      auto* const statistics = static_cast<kernels::query_statistics*>(two.data);
      const staged<row_name> names(names_for_dropout(call), true);
      const staged_mask mask(call.dropout, call.key);
      const auto shape = tiled_shape(call, names, mask);
      const staged_tiles queries(*call.queries, *call.keys, of_queries::rows);
      const staged_tiles keys(*call.keys, *call.queries, of_keys::rows);
      Device::blocks(queries.count * call.heads,
                     of_queries{dq, statistics, dy, q, k, v, logs, shape, queries.data()});
      Device::blocks(keys.count * call.heads,
                     of_keys{dk, dv, dy, q, k, v, statistics, shape, keys.data()});
    };
    if (with_tiles(tiled, call, {dq, dk, dv, dy, q, k, v}))
      return;
    const staged_attention a(call, q, v);
    const scratch dots(q.rows, call.heads, number_type::f32);
    Device::warps(q.rows * call.heads,
                  kernels::attention_queries{dq, dots, dy, q, k, v, logs, a.shape});
    Device::warps(k.rows * call.heads,
                  kernels::attention_keys{dk, dv, dy, q, k, v, logs, dots, a.shape});
  }

  static void gather(view y, const_view table, ids rows, bool add) {
    const staged<std::int32_t> which(rows);
    columns(y, kernels::gather{y, table, which.data(), add});
  }
  static void scatter_add(view table, const_view y, ids rows) {
    // The rows of each entry together, in their order.
    std::vector<std::int32_t> order(rows.size()), entries, starts;
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
      return rows[std::size_t(a)] < rows[std::size_t(b)];
    });
    for (std::size_t i = 0; i < order.size(); ++i)
      if (const std::int32_t entry = rows[std::size_t(order[i])];
          entries.empty() || entries.back() != entry) {
        entries.push_back(entry);
        starts.push_back(static_cast<std::int32_t>(i));
      }
    // As many runs as there are rows, the last ones empty: the launch is the same for all ids.
    entries.resize(rows.size());
    starts.resize(rows.size() + 1, static_cast<std::int32_t>(rows.size()));
    const staged<std::int32_t> to(entries), from(starts), of(order);
    Device::each(static_cast<index_t>(entries.size()), y.cols,
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

  // On the host: what starts from a factorisation does so once.
  static void svd(view u, view s, view v, const_view w) {
    const auto from = on_host(w);
    std::vector<float> a(std::size_t(u.size())), b(std::size_t(s.size())), c(std::size_t(v.size()));
    detail::reference_factorize<float>::svd(as_matrix(a, u), as_matrix(b, s), as_matrix(c, v),
                                            as_matrix(from, w));
    from_host(u, a);
    from_host(s, b);
    from_host(v, c);
  }
  static void qr(view q, view r, const_view w) {
    const auto from = on_host(w);
    std::vector<float> a(std::size_t(q.size())), b(std::size_t(r.size()));
    detail::reference_factorize<float>::qr(as_matrix(a, q), as_matrix(b, r), as_matrix(from, w));
    from_host(q, a);
    from_host(r, b);
  }

  static reading cross_entropy(view dy, const_view y, const cross_entropy_call<float>& call) {
    double total = 0;  // the weight of the rows that count
    for (const std::int32_t label : call.labels)
      if (label != call.ignored)
        total += call.weights.empty() ? 1.0 : double(call.weights[std::size_t(label)]);
    const staged<float> over(static_cast<float>(total));
    const staged<std::int32_t> labels(call.labels);
    const staged<float> weights(call.weights);
    const scratch losses(y.rows, 1, number_type::f32);
    Device::warps(y.rows,
                  kernels::cross_entropy{dy, y, losses.floats(), labels.data(),
                                         call.weights.empty() ? nullptr : weights.data(),
                                         over.data(), call.smoothing, call.ignored});
    return mean_of(losses, over);
  }
  static reading squared_error(view dy, const_view y, const_view target) {
    const staged<float> over(static_cast<float>(y.size()));
    const scratch losses(y.rows, 1, number_type::f32);
    Device::warps(y.rows, kernels::squared_error{dy, y, target, losses.floats()});
    return mean_of(losses, over);
  }

  static double squared_norm(const_view g) {
    const squares parts(g);
    return parts.sums.sum();
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
    const staged<segment_rate> rates(segments);
    const staged<kernels::step_terms> own(kernels::step_terms{call.gradient_scale, 1, 1});
    each(w, kernels::sgd_update{w, v, g, rates.data(), static_cast<index_t>(segments.size()),
                                state ? state->terms() : own.data(), call.momentum, call.nesterov});
  }
  static void adam_segments(view w, view m, view v, const_view g,
                            std::span<const segment_rate> segments, const adam_call<float>& call,
                            const step_state* state) {
    const auto correction = [&](float beta) {
      return static_cast<float>(1 - std::pow(double(beta), double(call.step)));
    };
    const staged<segment_rate> rates(segments);
    const staged<kernels::step_terms> own(kernels::step_terms{
        call.gradient_scale, correction(call.beta1), correction(call.beta2)});
    each(w, kernels::adam_update{w, m, v, g, rates.data(), static_cast<index_t>(segments.size()),
                                 state ? state->terms() : own.data(), call.beta1, call.beta2,
                                 call.epsilon});
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
    const squares parts(g);
    step_verdict told;
    const answers<2> where(&told.norm, &told.scale);
    Device::warps(1, kernels::judge_step{state.state(), where[0], where[1], parts.sums.floats(),
                                         parts.sums.rows, static_cast<float>(limit),
                                         static_cast<float>(std::log(beta1)),
                                         static_cast<float>(std::log(beta2)), scales_loss});
    where.read();
    return told;
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

  class staged_attention {
   public:
    staged_attention(const attention_call<float>& call, const_view q, const_view v)
        : queries_(*call.queries),
          keys_(*call.keys),
          names_(call.queries->names, true),
          mask_(call.dropout, call.key) {
      for (const index_t width : {q.cols / call.heads, v.cols / call.heads})
        if (width > kernels::widest_head)
          throw shape_error("attention: expected heads of at most " +
                            std::to_string(kernels::widest_head) + ", found " +
                            std::to_string(width));
      shape = {queries_.map(), keys_.map(), call.heads, call.scale, mask_.mask(), names_.data()};
    }
    kernels::attention_shape shape;

   private:
    staged_rows queries_, keys_;
    staged<row_name> names_;
    staged_mask mask_;
  };

  // Numbers that a kernel finds: read at once or, within a step, when they are asked for.
  template <std::size_t N>
  class answers {
   public:
    template <class... R>
    explicit answers(R*... to) : to_{to...}, now_(Device::in_step() ? 0 : N, 1, number_type::f32) {
      for (std::size_t i = 0; i < N; ++i)
        if (Device::in_step())
          std::tie(at_[i], *to_[i]) = Device::recorder().answer();
        else
          at_[i] = now_.floats() + i;
    }
    float* operator[](std::size_t i) const { return at_[i]; }
    void read() const {
      if (now_.rows == 0)
        return;
      std::array<float, N> found;
      Device::download(found.data(), now_.data, sizeof found);
      for (std::size_t i = 0; i < N; ++i)
        *to_[i] = static_cast<double>(found[i]);
    }

   private:
    std::array<reading*, N> to_;
    std::array<float*, N> at_;
    scratch now_;
  };
  static reading mean_of(const scratch& losses, const staged<float>& over) {
    reading mean;
    const answers<1> where(&mean);
    Device::warps(1, kernels::mean_loss{where[0], losses.floats(), over.data(), losses.rows});
    where.read();
    return mean;
  }

  // Σ g² of its blocks.
  struct squares {
    scratch sums;
    explicit squares(const_view g)
        : sums((g.size() + kernels::squares_block::block - 1) / kernels::squares_block::block, 1,
               number_type::f32) {
      Device::warps(sums.rows, kernels::squares_block{sums.floats(), g});
    }
  };

  class staged_tiles : public staged<kernels::row_tile> {
   public:
    staged_tiles(const layout& rows, const layout& others, index_t height)
        : staged_tiles(detail::tiles_of_rows(rows, others, height)) {}
    const index_t count;

   private:
    explicit staged_tiles(const std::vector<kernels::row_tile>& tiles)
        : staged<kernels::row_tile>(tiles), count(static_cast<index_t>(tiles.size())) {}
  };

  static names names_for_dropout(const attention_call<float>& call) {
    return call.dropout > 0 ? names(call.queries->names) : names();
  }
  static kernels::tiled_attention_shape tiled_shape(const attention_call<float>& call,
                                                    const staged<row_name>& who,
                                                    const staged_mask& mask) {
    return {call.heads, call.scale, mask.mask(), who.data()};
  }

  // f(the size of the heads, as a type) if the kernels on tensor cores take it: numbers of 16 bits in rows
  // that begin at multiples of 16 bytes.
  template <class F>
  static bool with_tiles(const F& f, const attention_call<float>& call,
                         std::initializer_list<const_view> all) {
    if constexpr (sizeof(T) == 2) {
      const index_t width = all.begin()->cols;
      for (const const_view& x : all)
        if (x.type != number_type_of<T> || x.cols != width || x.stride % 8 != 0 ||
            reinterpret_cast<std::uintptr_t>(x.data) % 16 != 0)
          return false;
      if (!(call.scale > 0) || !Device::tensor_cores())
        return false;
      switch (width == width / call.heads * call.heads ? width / call.heads : 0) {
        case 32: f(std::integral_constant<int, 32>{}); return true;
        case 64: f(std::integral_constant<int, 64>{}); return true;
        case 128: f(std::integral_constant<int, 128>{}); return true;
        default: return false;
      }
    }
    return false;
  }

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
    constexpr index_t at_once = kernels::columns_at_once;
    Device::each(y.rows, (y.cols + at_once - 1) / at_once, k);
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

  // Both factors in one type of number: in 16 bits where either is. Only such are multiplied into 16 bits.
  static void product(device_product p) {
    p.tf32 = std::is_same_v<T, tf32>;
    if (p.y.rows == 0 || p.y.cols == 0)
      return;
    if (p.inner() == 0) {
      if (!p.add)
        fill(p.y, 0);
      if (p.bias.data)
        add_row(p.y, p.bias);
      return;
    }
    if (thin_product(p))
      return;
    const bool exact = p.x.type == number_type::f32 && p.w.type == number_type::f32;
    if (p.bias.data && p.bias.type != (exact ? number_type::f32 : p.y.type)) {
      const const_view bias = std::exchange(p.bias, {});
      product(p);
      add_row(p.y, bias);
      return;
    }
    if (p.x.type != p.w.type) {
      const_view& other = p.x.type == number_type_of<T> ? p.w : p.x;
      const scratch same(other.rows, other.cols, number_type_of<T>);
      copy(same, other);
      other = same;
      Device::product(p);
    } else if (exact && p.y.type != number_type::f32) {
      const scratch wide(p.y.rows, p.y.cols, number_type::f32);
      if (p.add)
        copy(wide, p.y);
      const view y = std::exchange(p.y, wide);
      Device::product(p);
      copy(y, wide);
    } else {
      Device::product(p);
    }
  }

  // Low-rank updates: a product of numbers of 16 bits with a parameter that makes few columns or has few
  // summands, or of such numbers turned that has few rows or columns. False for any other.
  static bool thin_product(const device_product& p) {
    if constexpr (number_type_of<T> != number_type::f32) {
      constexpr number_type narrow = number_type_of<T>;
      if (p.bias.data || p.x.type != narrow || !Device::tensor_cores())
        return false;
      if (!p.turn_x && p.w.type == number_type::f32) {
        if (p.inner() <= kernels::thin && p.y.type == narrow) {
          const kernels::thin_inner_product<T> k{p.y, p.x, p.w, p.turn_w, p.s, p.add};
          Device::warps(k.units(), k);
          return true;
        }
        if (p.y.cols <= kernels::thin) {
          const kernels::thin_product<T> k{p.y, p.x, p.w, p.turn_w, p.s, p.add};
          Device::warps(k.units(), k);
          return true;
        }
      }
      if (p.turn_x && !p.turn_w && p.w.type == narrow && std::min(p.y.rows, p.y.cols) <= kernels::thin) {
        const bool turned = p.y.rows < p.y.cols;
        const const_view wide = turned ? p.w : p.x, few = turned ? p.x : p.w;
        constexpr index_t most_blocks = 128, least_rows = 64;
        const index_t rows =
            std::max(least_rows, ((wide.rows + most_blocks - 1) / most_blocks + 15) / 16 * 16);
        const index_t width = (wide.cols + 63) / 64 * 64;
        const scratch sums((wide.rows + rows - 1) / rows, few.cols * width, number_type::f32);
        const kernels::thin_sums<T> k{sums, wide, few, rows, width};
        Device::warps(k.units(), k);
        Device::warps(sums.cols / 32,
                      kernels::fold_thin_sums{p.y, sums, width, turned, p.s, p.add});
        return true;
      }
    }
    return false;
  }

  static matrix_view<float> as_matrix(std::vector<float>& values, const const_view& like) {
    return {values.data(), like.rows, like.cols};
  }
  static matrix_view<const float> as_matrix(const std::vector<float>& values,
                                            const const_view& like) {
    return {values.data(), like.rows, like.cols};
  }
};

}  // namespace graft
