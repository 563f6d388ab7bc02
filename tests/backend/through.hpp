// SPDX-License-Identifier: MIT
// A backend whose memory is a device's, for tests that have their numbers on the host: every operation
// brings what it is given there and what it made back.
#pragma once

#include <graft/backend/cuda/gpu.hpp>

#include <cstddef>
#include <deque>
#include <limits>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "backend/sheet.hpp"

namespace graft_test {

// The matrices of one operation. Two that begin at the same address are one.
template <class B>
class visitors {
 public:
  using device = typename B::device;
  using number = typename B::number;

  visitors() = default;
  visitors(const visitors&) = delete;
  visitors& operator=(const visitors&) = delete;
  ~visitors() {
    for (const visitor& v : all_)
      device::release(v.there);
  }

  graft::device_view take(graft::matrix_view<float> m, bool exact) {
    graft::device_view v = take(graft::matrix_view<const float>(m), exact);
    if (m.data)
      for (visitor& known : all_)
        if (known.here.data == m.data)
          known.back = m;
    return v;
  }
  // A single row, as biases and sums are, and what is `exact` stay floats.
  graft::device_view take(graft::matrix_view<const float> m, bool exact) {
    if (!m.data)
      return {nullptr, m.rows, m.cols, m.stride, graft::number_type::f32};
    for (const visitor& known : all_)
      if (known.here.data == m.data)
        return view_of(known);
    visitor v{m, {}, exact || m.rows == 1 || std::is_same_v<number, float>, nullptr};
    const std::size_t bytes = count(v) * (v.exact ? sizeof(float) : sizeof(number));
    v.there = device::allocate((bytes / device::alignment + 1) * device::alignment);
    if (v.exact)
      bring<float>(v);
    else
      bring<number>(v);
    all_.push_back(v);
    return view_of(v);
  }
  void bring_back() {
    device::wait();
    for (const visitor& v : all_)
      if (v.back.data && v.exact)
        bring_back<float>(v);
      else if (v.back.data)
        bring_back<number>(v);
  }

 private:
  struct visitor {
    graft::matrix_view<const float> here;
    graft::matrix_view<float> back;  // null where it is only read
    bool exact;
    void* there;
  };

  static std::size_t count(const visitor& v) {
    const auto& m = v.here;
    return m.size() == 0 ? 0 : static_cast<std::size_t>((m.rows - 1) * m.stride + m.cols);
  }
  static graft::device_view view_of(const visitor& v) {
    return {v.there, v.here.rows, v.here.cols, v.here.stride,
            v.exact ? graft::number_type::f32 : graft::number_type_of<number>};
  }
  template <class T>
  static void bring(const visitor& v) {
    std::vector<T> numbers(count(v));
    for (std::size_t i = 0; i < numbers.size(); ++i)
      numbers[i] = graft::number_from<T>(v.here.data[i]);
    device::upload(v.there, numbers.data(), numbers.size() * sizeof(T));
  }
  template <class T>
  static void bring_back(const visitor& v) {
    std::vector<T> numbers(count(v));
    device::download(numbers.data(), v.there, numbers.size() * sizeof(T));
    for (std::size_t n = 0; n < numbers.size(); ++n) {
      const auto at = static_cast<graft::index_t>(n);
      const bool inside = at % v.here.stride < v.here.cols;
      if (inside)
        v.back.data[n] = graft::to_float(numbers[n]);
      else if (!(numbers[n] == graft::number_from<T>(sheet<float>::guarded)))
        v.back.data[n] = std::numeric_limits<float>::quiet_NaN();  // somebody wrote beside a row
    }
  }

  std::deque<visitor> all_;
};

// What is of floats whatever the tensors are of.
template <class M>
struct exact_matrix {
  M matrix;
};

template <class Backend>
struct through {
  using B = Backend;
  using number = typename B::number;
  using scalar = float;
  using view = graft::matrix_view<float>;
  using const_view = graft::matrix_view<const float>;
  using updates = std::vector<graft::row_update<const_view, float>>;

  static float rounded(float x) { return graft::to_float(graft::number_from<number>(x)); }

#define GRAFT_THROUGH(operation)                                                      \
  template <class... A>                                                               \
  static auto operation(A&&... a) {                                                   \
    return run([](auto&&... b) { return B::operation(b...); }, std::forward<A>(a)...); \
  }
  GRAFT_THROUGH(product_nt)
  GRAFT_THROUGH(product_nn)
  GRAFT_THROUGH(product_tn)
  GRAFT_THROUGH(linear)
  GRAFT_THROUGH(linear_activated)
  GRAFT_THROUGH(add_low_rank)
  GRAFT_THROUGH(sum_rows)
  GRAFT_THROUGH(copy)
  GRAFT_THROUGH(fill)
  GRAFT_THROUGH(scale)
  GRAFT_THROUGH(add)
  GRAFT_THROUGH(add_scaled)
  GRAFT_THROUGH(multiply)
  GRAFT_THROUGH(add_row)
  GRAFT_THROUGH(multiply_row)
  GRAFT_THROUGH(multiply_column)
  GRAFT_THROUGH(dot_columns)
  GRAFT_THROUGH(dot_rows)
  GRAFT_THROUGH(divide_by_root)
  GRAFT_THROUGH(activate)
  GRAFT_THROUGH(activate_backward)
  GRAFT_THROUGH(dropout)
  GRAFT_THROUGH(gather)
  GRAFT_THROUGH(scatter_add)
  GRAFT_THROUGH(pool_first)
  GRAFT_THROUGH(pool_first_backward)
  GRAFT_THROUGH(pool_mean)
  GRAFT_THROUGH(pool_mean_backward)
  GRAFT_THROUGH(scale_sequences)
  GRAFT_THROUGH(dot_sequences)
  GRAFT_THROUGH(prepend)
  GRAFT_THROUGH(patches)
  GRAFT_THROUGH(patches_backward)
  GRAFT_THROUGH(normalize_rows)
  GRAFT_THROUGH(round_rows)
  GRAFT_THROUGH(softmax)
  GRAFT_THROUGH(squared_norm)
  GRAFT_THROUGH(sgd_update)
  GRAFT_THROUGH(adam_update)
#undef GRAFT_THROUGH

  template <class Matrix>
  static void dequantize(view y, const std::shared_ptr<const Matrix>& q) {
    run([&](auto&& b) { B::dequantize(b, q); }, y);
  }
  static void prepend_backward(view dp, view dx, const_view dy, const graft::layout& rows) {
    run([](auto&&... b) { B::prepend_backward(b...); }, dp, dx, dy, rows);
  }
  static float cross_entropy(view dy, const_view y, const graft::cross_entropy_call<float>& call) {
    const graft::reading found =
        run([](auto&&... b) { return B::cross_entropy(b...); }, dy, y, call);
    return static_cast<float>(found.value());
  }
  static float squared_error(view dy, const_view y, const_view target) {
    const graft::reading found =
        run([](auto&&... b) { return B::squared_error(b...); }, dy, y, target);
    return static_cast<float>(found.value());
  }
  template <class... A>
  static void svd(A&&... a) {
    run([](auto&&... b) { B::svd(b...); }, exact(std::forward<A>(a))...);
  }
  template <class... A>
  static void qr(A&&... a) {
    run([](auto&&... b) { B::qr(b...); }, exact(std::forward<A>(a))...);
  }

  // Statistics are floats.
  static void layer_norm(view y, view stats, const_view x, const_view gain, const_view bias,
                         float epsilon) {
    run([](auto&&... b) { B::layer_norm(b...); }, y, exact(stats), x, gain, bias, epsilon);
  }
  static void add_layer_norm(view y, view sum, view stats, const_view h, const_view t, const_view gain,
                             const_view bias, float epsilon) {
    run([](auto&&... b) { B::add_layer_norm(b...); }, y, sum, exact(stats), h, t, gain, bias, epsilon);
  }
  static void layer_norm_backward(view dx, const_view dy, const_view x, const_view stats,
                                  const_view gain) {
    run([](auto&&... b) { B::layer_norm_backward(b...); }, dx, dy, x, exact(stats), gain);
  }
  static void layer_norm_parameters(view dgain, view dbias, const_view dy, const_view x,
                                    const_view stats) {
    run([](auto&&... b) { B::layer_norm_parameters(b...); }, dgain, dbias, dy, x, exact(stats));
  }
  template <class W>
  static void attention(view y, view logs, const_view q, const_view k, const_view v,
                        const graft::attention_call<float>& call, W&) {
    typename B::workspace memory;
    run([&](auto&&... b) { B::attention(b..., call, memory); }, y, exact(logs), q, k, v);
  }
  template <class W>
  static void attention_backward(view dq, view dk, view dv, const_view dy, const_view q,
                                 const_view k, const_view v, const_view logs,
                                 const graft::attention_call<float>& call, W&) {
    typename B::workspace memory;
    run([&](auto&&... b) { B::attention_backward(b..., call, memory); }, dq, dk, dv, dy, q, k, v,
        exact(logs));
  }

 private:
  static exact_matrix<view> exact(view m) { return {m}; }
  static exact_matrix<const_view> exact(const_view m) { return {m}; }
  static exact_matrix<view> exact(sheet<float>& m) { return {m}; }
  static exact_matrix<const_view> exact(const sheet<float>& m) { return {m}; }

  static graft::device_view there(visitors<B>& v, view m) { return v.take(m, false); }
  static graft::const_device_view there(visitors<B>& v, const_view m) { return v.take(m, false); }
  static graft::device_view there(visitors<B>& v, sheet<float>& m) { return v.take(view(m), false); }
  static graft::const_device_view there(visitors<B>& v, const sheet<float>& m) {
    return v.take(const_view(m), false);
  }
  template <class M>
  static auto there(visitors<B>& v, exact_matrix<M> m) {
    return v.take(m.matrix, true);
  }
  static auto there(visitors<B>& v, const updates& all) {
    std::vector<graft::row_update<graft::const_device_view, float>> moved;
    for (const auto& u : all)
      moved.push_back({u.first, u.rows, there(v, u.a), there(v, u.b), there(v, u.bias), u.scale});
    return moved;
  }
  template <class X>
  static const X& there(visitors<B>&, const X& other) {
    return other;
  }

  template <class F, class... A>
  static auto run(const F& f, A&&... a) {
    visitors<B> v;
    // (In a tuple, so that they are brought in order.)
    auto moved = std::tuple<decltype(there(v, a))...>{there(v, a)...};
    if constexpr (std::is_void_v<decltype(std::apply(f, moved))>) {
      std::apply(f, moved);
      v.bring_back();
    } else {
      const auto result = std::apply(f, moved);
      v.bring_back();
      return result;
    }
  }
};

}  // namespace graft_test
