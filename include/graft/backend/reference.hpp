// SPDX-License-Identifier: MIT
// The reference backend: every operation as the loop its formula says, sums in double. Slow on
// purpose; the tests hold the other backends against it.
#pragma once

#include <graft/backend/host.hpp>
#include <graft/backend/reference/activation.hpp>
#include <graft/backend/reference/broadcast.hpp>
#include <graft/backend/reference/factorize.hpp>
#include <graft/backend/reference/image.hpp>
#include <graft/backend/reference/loss.hpp>
#include <graft/backend/reference/update.hpp>
#include <graft/core/backend.hpp>

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

namespace graft {

// The operations are described in core/backend.hpp.
template <class T>
struct reference : host<T>,
                   detail::reference_activation<T>,
                   detail::reference_broadcast<T>,
                   detail::reference_factorize<T>,
                   detail::reference_image<T>,
                   detail::reference_loss<T>,
                   detail::reference_update<T> {
  using typename host<T>::view;
  using typename host<T>::const_view;
  using typename host<T>::workspace;
  using ids = std::span<const std::int32_t>;
  using names = std::span<const row_name>;
  using updates = std::span<const row_update<const_view, T>>;

  static void product_nt(view y, const_view x, const_view w, T s, bool add) {
    for (index_t i = 0; i < y.rows; ++i)
      for (index_t j = 0; j < y.cols; ++j) {
        double sum = 0;
        for (index_t k = 0; k < x.cols; ++k)
          sum += double(x(i, k)) * double(w(j, k));
        y(i, j) = T((add ? double(y(i, j)) : 0.0) + double(s) * sum);
      }
  }

  static void product_nn(view y, const_view x, const_view w, T s, bool add) {
    for (index_t i = 0; i < y.rows; ++i)
      for (index_t j = 0; j < y.cols; ++j) {
        double sum = 0;
        for (index_t k = 0; k < x.cols; ++k)
          sum += double(x(i, k)) * double(w(k, j));
        y(i, j) = T((add ? double(y(i, j)) : 0.0) + double(s) * sum);
      }
  }

  static void product_tn(view y, const_view x, const_view w, T s, bool add) {
    for (index_t i = 0; i < y.rows; ++i)
      for (index_t j = 0; j < y.cols; ++j) {
        double sum = 0;
        for (index_t k = 0; k < x.rows; ++k)
          sum += double(x(k, i)) * double(w(k, j));
        y(i, j) = T((add ? double(y(i, j)) : 0.0) + double(s) * sum);
      }
  }

  static void linear(view y, const_view x, const_view w, const_view b) {
    for (index_t i = 0; i < y.rows; ++i)
      for (index_t j = 0; j < y.cols; ++j) {
        double sum = b.data ? double(b(0, j)) : 0.0;
        for (index_t k = 0; k < x.cols; ++k)
          sum += double(x(i, k)) * double(w(j, k));
        y(i, j) = T(sum);
      }
  }

  static void linear_activated(view y, view z, const_view x, const_view w, const_view b,
                               activation f) {
    linear(z, x, w, b);
    reference::activate(y, z, f);
  }

  static void add_low_rank(view y, const_view x, updates groups) {
    for (const auto& u : groups)
      for (index_t i = u.first; i < u.first + u.rows; ++i)
        for (index_t j = 0; j < y.cols; ++j) {
          double sum = u.bias.data ? double(u.bias(0, j)) : 0.0;
          for (index_t r = 0; r < u.a.rows; ++r)
            for (index_t k = 0; k < x.cols; ++k)
              sum += double(x(i, k)) * double(u.a(r, k)) * double(u.b(j, r));
          y(i, j) = T(double(y(i, j)) + double(u.scale) * sum);
        }
  }

  static void sum_rows(view y, const_view x) {
    for (index_t j = 0; j < x.cols; ++j) {
      double sum = y(0, j);
      for (index_t i = 0; i < x.rows; ++i)
        sum += x(i, j);
      y(0, j) = T(sum);
    }
  }

  static void copy(view y, const_view x) {
    each(y, [&](index_t i, index_t j) { y(i, j) = x(i, j); });
  }
  static void fill(view y, T s) {
    each(y, [&](index_t i, index_t j) { y(i, j) = s; });
  }
  static void scale(view y, T s) {
    each(y, [&](index_t i, index_t j) { y(i, j) *= s; });
  }
  static void add(view y, const_view x) {
    each(y, [&](index_t i, index_t j) { y(i, j) += x(i, j); });
  }
  static void add_scaled(view y, const_view x, T s) {
    each(y, [&](index_t i, index_t j) { y(i, j) += s * x(i, j); });
  }

  static void dropout(view y, const_view x, T rate, dropout_key key, names rows) {
    each(y, [&](index_t i, index_t j) {
      const bool k = kept(rate, key, rows[std::size_t(i)], 0, j);
      y(i, j) = k ? T(double(x(i, j)) / (1.0 - double(rate))) : T(0);
    });
  }

  static void layer_norm(view y, view stats, const_view x, const_view gain, const_view bias,
                         T eps) {
    for (index_t i = 0; i < x.rows; ++i) {
      double mean = 0, var = 0;
      for (index_t j = 0; j < x.cols; ++j)
        mean += double(x(i, j)) / double(x.cols);
      for (index_t j = 0; j < x.cols; ++j)
        var += (x(i, j) - mean) * (x(i, j) - mean) / double(x.cols);
      const double inverse = 1.0 / std::sqrt(var + double(eps));
      for (index_t j = 0; j < x.cols; ++j)
        y(i, j) = T((x(i, j) - mean) * inverse * gain(0, j) + bias(0, j));
      stats(i, 0) = T(mean);
      stats(i, 1) = T(inverse);
    }
  }

  static void add_layer_norm(view y, view sum, view stats, const_view h, const_view t,
                             const_view gain, const_view bias, T eps) {
    each(sum, [&](index_t i, index_t j) { sum(i, j) = h(i, j) + t(i, j); });
    layer_norm(y, stats, sum, gain, bias, eps);
  }

  static void layer_norm_backward(view dx, const_view dy, const_view x, const_view stats,
                                  const_view gain) {
    const double n = double(x.cols);
    for (index_t i = 0; i < x.rows; ++i) {
      const auto normal = [&](index_t j) { return (double(x(i, j)) - stats(i, 0)) * stats(i, 1); };
      double sum = 0, dot = 0;  // of g and of g · normal, where g = dy ∘ gain
      for (index_t j = 0; j < x.cols; ++j) {
        const double g = double(dy(i, j)) * gain(0, j);
        sum += g;
        dot += g * normal(j);
      }
      for (index_t j = 0; j < x.cols; ++j) {
        const double g = double(dy(i, j)) * gain(0, j);
        dx(i, j) = T(stats(i, 1) * (g - sum / n - normal(j) * dot / n));
      }
    }
  }

  static void layer_norm_parameters(view dgain, view dbias, const_view dy, const_view x,
                                    const_view stats) {
    for (index_t j = 0; j < x.cols; ++j) {
      double gain = 0, bias = 0;
      for (index_t i = 0; i < x.rows; ++i) {
        gain += double(dy(i, j)) * (double(x(i, j)) - stats(i, 0)) * stats(i, 1);
        bias += dy(i, j);
      }
      if (dgain.data)
        dgain(0, j) = T(dgain(0, j) + gain);
      dbias(0, j) = T(dbias(0, j) + bias);
    }
  }

  static void attention(view y, view logs, const_view q, const_view k, const_view v,
                        const attention_call<T>& call, workspace&) {
    each_query(call, q, k,
               [&](index_t h, index_t i, index_t first, const std::vector<double>& scores,
                   const std::vector<double>& mask) {
                 const index_t size = v.cols / call.heads;
                 const double log = detail::log_sum(scores);
                 logs(i, h) = T(log);
                 for (index_t c = h * size; c < (h + 1) * size; ++c) {
                   double sum = 0;
                   for (std::size_t j = 0; j < scores.size(); ++j)
                     sum += std::exp(scores[j] - log) * mask[j] * v(first + index_t(j), c);
                   y(i, c) = T(sum);
                 }
               });
  }

  static void attention_backward(view dq, view dk, view dv, const_view dy, const_view q,
                                 const_view k, const_view v, const_view logs,
                                 const attention_call<T>& call, workspace&) {
    matrix<double> gk(k), gv(v);
    each_query(call, q, k,
               [&](index_t h, index_t i, index_t first, const std::vector<double>& scores,
                   const std::vector<double>& mask) {
                 const index_t size = q.cols / call.heads, values = v.cols / call.heads;
                 const std::size_t n = scores.size();
                 std::vector<double> p(n), dp(n);
                 double dot = 0;
                 for (std::size_t j = 0; j < n; ++j) {
                   const index_t row = first + index_t(j);
                   p[j] = std::exp(scores[j] - double(logs(i, h)));
                   for (index_t c = h * values; c < (h + 1) * values; ++c) {
                     dp[j] += double(dy(i, c)) * v(row, c) * mask[j];
                     gv(row, c) += p[j] * mask[j] * dy(i, c);
                   }
                   dot += p[j] * dp[j];
                 }
                 for (index_t c = h * size; c < (h + 1) * size; ++c) {
                   double sum = 0;
                   for (std::size_t j = 0; j < n; ++j) {
                     const double ds = p[j] * (dp[j] - dot) * double(call.scale);
                     sum += ds * k(first + index_t(j), c);
                     gk(first + index_t(j), c) += ds * q(i, c);
                   }
                   dq(i, c) = T(sum);
                 }
               });
    each(dk, [&](index_t i, index_t j) { dk(i, j) = T(gk(i, j)); });
    each(dv, [&](index_t i, index_t j) { dv(i, j) = T(gv(i, j)); });
  }

  static void gather(view y, const_view table, ids rows, bool add) {
    each(y, [&](index_t i, index_t j) {
      y(i, j) = (add ? y(i, j) : T(0)) + table(rows[std::size_t(i)], j);
    });
  }
  static void scatter_add(view table, const_view y, ids rows) {
    each(y, [&](index_t i, index_t j) { table(rows[std::size_t(i)], j) += y(i, j); });
  }

  // An empty sequence pools to zero.
  static void pool_first(view y, const_view x, const layout& rows) {
    each(y, [&](index_t s, index_t j) { y(s, j) = rows.length(s) ? x(rows.first(s), j) : T(0); });
  }
  static void pool_first_backward(view dx, const_view dy, const layout& rows) {
    fill(dx, T(0));
    each(dy, [&](index_t s, index_t j) {
      if (rows.length(s))
        dx(rows.first(s), j) = dy(s, j);
    });
  }
  static void pool_mean(view y, const_view x, const layout& rows) {
    each(y, [&](index_t s, index_t j) {
      double sum = 0;
      for (index_t i = rows.first(s); i < rows.first(s + 1); ++i)
        sum += x(i, j);
      y(s, j) = rows.length(s) ? T(sum / double(rows.length(s))) : T(0);
    });
  }
  static void pool_mean_backward(view dx, const_view dy, const layout& rows) {
    each(dy, [&](index_t s, index_t j) {
      for (index_t i = rows.first(s); i < rows.first(s + 1); ++i)
        dx(i, j) = T(double(dy(s, j)) / double(rows.length(s)));
    });
  }
  // |x| counts as at least 1e-12: a row of zeros stays one.
  static void normalize_rows(view y, const_view x) {
    for (index_t i = 0; i < x.rows; ++i) {
      double squares = 0;
      for (index_t j = 0; j < x.cols; ++j)
        squares += double(x(i, j)) * double(x(i, j));
      const double norm = std::max(std::sqrt(squares), 1e-12);
      for (index_t j = 0; j < x.cols; ++j)
        y(i, j) = T(x(i, j) / norm);
    }
  }

 private:
  // Zeros of the size of a view.
  template <class U>
  struct matrix {
    explicit matrix(const_view like)
        : cols(like.cols), values(std::size_t(like.rows * like.cols)) {}
    U& operator()(index_t i, index_t j) { return values[std::size_t(i * cols + j)]; }
    index_t cols;
    std::vector<U> values;
  };

  template <class U, class F>
  static void each(matrix_view<U> v, const F& f) {
    for (index_t i = 0; i < v.rows; ++i)
      for (index_t j = 0; j < v.cols; ++j)
        f(i, j);
  }

  static bool kept(T rate, dropout_key key, row_name name, std::uint32_t base, index_t column) {
    const philox_counter c{base + std::uint32_t(column / 4), name.token, name.example, key.place};
    return double(philox(c, key.key)[std::size_t(column % 4)]) >= double(rate) * 0x1p32;
  }

  // f(head, query row, first key row, scaled scores over the keys, dropout factor of each) for
  // every query row and head.
  template <class F>
  static void each_query(const attention_call<T>& call, const_view q, const_view k, const F& f) {
    const index_t size = q.cols / call.heads;
    std::vector<double> scores, mask;
    for (index_t s = 0; s < call.queries->sequences(); ++s)
      for (index_t i = call.queries->first(s); i < call.queries->first(s + 1); ++i)
        for (index_t h = 0; h < call.heads; ++h) {
          const index_t first = call.keys->first(s), n = call.keys->length(s);
          scores.assign(std::size_t(n), 0.0);
          mask.assign(std::size_t(n), 1.0);
          for (index_t j = 0; j < n; ++j) {
            for (index_t c = h * size; c < (h + 1) * size; ++c)
              scores[std::size_t(j)] += double(q(i, c)) * k(first + j, c) * double(call.scale);
            if (call.dropout > 0) {
              const row_name name = call.queries->names[std::size_t(i)];
              const auto base = std::uint32_t(h) << 20;
              mask[std::size_t(j)] = kept(call.dropout, call.key, name, base, j)
                                         ? 1.0 / (1.0 - double(call.dropout))
                                         : 0.0;
            }
          }
          f(h, i, first, scores, mask);
        }
  }

};

}  // namespace graft
