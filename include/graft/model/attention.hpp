// SPDX-License-Identifier: MIT
// Multi-head self-attention over packed sequences.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/first_rows.hpp>
#include <graft/core/on_backend.hpp>
#include <graft/layer/dropout.hpp>
#include <graft/layer/linear.hpp>
#include <graft/layer/memory.hpp>
#include <graft/tuning/occupant.hpp>
#include <graft/tuning/row_by_row.hpp>

#include <cmath>
#include <cstdint>
#include <type_traits>
#include <utility>

namespace graft {

// h = drop(O(concat over heads of drop(softmax(q kᵀ / √size)) v)), q = Q(x), k = K(x), v = V(x),
// each sequence by itself; Q, K, V, O the occupants of at::query, key, value and attention_output. The
// occupant of at::memory may put further keys and values before those of a sequence (tuning/prefix.hpp).
//
// Keeps q, k, v and one number per row and head when gradients must pass the product; probabilities
// and masks are computed again. Throws shape_error when the heads do not divide the width.
// Vaswani et al. 2017, arXiv:1706.03762.
template <backend Backend, class Scope>
struct self_attention {
  using backend_type = Backend;
  using B = backend_type;
  using tensor = typename B::tensor;
  using scalar = typename B::scalar;

  using query_type = leaf<Scope, at::query_t, linear<B>>;
  using key_type = leaf<Scope, at::key_t, linear<B>>;
  using value_type = leaf<Scope, at::value_t, linear<B>>;
  using memory_type = node<Scope, at::memory_t, no_memory<B>>;
  using output_type = leaf<Scope, at::attention_output_t, linear<B>>;

  query_type query;
  key_type key;
  value_type value;
  memory_type memory;
  output_type output;
  index_t heads = 1;
  double probability_dropout = 0;
  std::uint32_t place = 0;
  dropout<B> drop;

  self_attention() = default;
  self_attention(index_t width, index_t heads_, double p_dropout = 0, double h_dropout = 0)
      : query(make_leaf<Scope, at::query_t>(linear<B>(width, width))),
        key(make_leaf<Scope, at::key_t>(linear<B>(width, width))),
        value(make_leaf<Scope, at::value_t>(linear<B>(width, width))),
        memory(make_node<Scope, at::memory_t>(no_memory<B>{width})),
        output(make_leaf<Scope, at::attention_output_t>(linear<B>(width, width))),
        heads(heads_),
        probability_dropout(p_dropout) {
    drop.rate = h_dropout;
    if (heads < 1 || width % heads != 0)
      throw shape_error("attention: expected a number of heads that divides " +
                        std::to_string(width) + ", found " + std::to_string(heads));
  }

  index_t in() const { return query.in(); }
  index_t out() const { return output.out(); }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::query, z.query...);
    f(at::key, z.key...);
    f(at::value, z.value...);
    f(at::memory, z.memory...);
    f(at::attention_output, z.output...);
  }
  template <backend To>
    requires(movable_to<query_type, To> && movable_to<key_type, To> && movable_to<value_type, To> &&
             movable_to<memory_type, To> && movable_to<output_type, To>)
  using on_backend = self_attention<To, Scope>;
  template <class F, class... Z>
  static void settings(F&& f, Z&&... z) {
    f(z.heads...);
    f(z.probability_dropout...);
    f(z.place...);
    f(z.drop.rate...);
    f(z.drop.place...);
  }

  struct mirror {
    gradient_t<query_type> query;
    gradient_t<key_type> key;
    gradient_t<value_type> value;
    gradient_t<memory_type> memory;
    gradient_t<output_type> output;
  };
  using gradient =
      std::conditional_t<trainable<query_type> || trainable<key_type> || trainable<value_type> ||
                             trainable<memory_type> || trainable<output_type>,
                         mirror, nothing>;

  template <demand D>
  static constexpr demand of_memory = D.after(reached<key_type>(D) || reached<value_type>(D));
  // Do gradients pass the product of attention?
  template <demand D>
  static constexpr bool passed =
      reached<query_type>(D) || reached<memory_type>(of_memory<D>);
  template <demand D>
  static constexpr demand of_output = D.after(passed<D>);

  template <demand D>
  struct cache {
    cache_t<query_type, D> query;
    cache_t<key_type, D> key;
    cache_t<value_type, D> value;
    cache_t<memory_type, of_memory<D>> memory;
    cache_t<output_type, of_output<D>> output;
  };
  template <demand D>
    requires(passed<D>)
  struct cache<D> {
    cache_t<query_type, D> query;
    cache_t<key_type, D> key;
    cache_t<value_type, D> value;
    cache_t<memory_type, of_memory<D>> memory;
    cache_t<output_type, of_output<D>> output;
    tensor q, k, v, logs;
  };

  template <demand D>
  tensor forward(const tensor& x, cache<D>& c, const context<B>& ctx) const {
    return attend<D>(x, x, c, ctx, ctx);
  }
  template <demand D, class G>
  auto backward(tensor dy, cache<D>& c, G* g, const context<B>& ctx) const {
    if constexpr (!passed<D>) {
      to_product<D>(std::move(dy), c, g, ctx);
      return nothing{};
    } else {
      auto [dq, kv] = attend_back<D>(std::move(dy), c, g, ctx, ctx);
      add_to<D>(kv.x, query, std::move(dq), c.query, part<D>(g, &mirror::query), ctx);
      return keys_and_values<D>(std::move(kv), c, g, ctx);
    }
  }

  // Queries of the first rows alone, keys and values of all (core/first_rows.hpp).
  template <demand D>
    requires(row_by_row_at<Scope, at::query_t, at::attention_output_t>())
  tensor forward_first(const tensor& x, cache<D>& c, const context<B>& ctx,
                       const context<B>& first) const {
    return attend<D>(first_rows(x, ctx), x, c, first, ctx);
  }
  template <demand D, class G>
  auto backward_first(tensor dy, cache<D>& c, G* g, const context<B>& ctx,
                      const context<B>& first) const {
    if constexpr (!passed<D>) {
      to_product<D>(std::move(dy), c, g, first);
      return nothing{};
    } else {
      auto [dq, kv] = attend_back<D>(std::move(dy), c, g, first, ctx);
      tensor dx;
      add_to<D>(dx, query, std::move(dq), c.query, part<D>(g, &mirror::query), first);
      if constexpr (D.input) {
        dx = at_first_rows(dx, ctx);
        if (kv.x.data)
          B::add(dx, kv.x);
        kv.x = std::move(dx);
      }
      return keys_and_values<D>(std::move(kv), c, g, ctx);
    }
  }

  void placed(std::uint32_t number) {
    place = number;
    drop.place = number + 1;
  }

 private:
  // What the rows of xq, those of `queries`, find in the rows of x, those of `keys`.
  template <demand D>
  tensor attend(const tensor& xq, const tensor& x, cache<D>& c, const context<B>& queries,
                const context<B>& keys) const {
    expect_size("attention: rows of the batch", keys.batch.rows(), x.rows);
    tensor q = query.template forward<D>(xq, c.query, queries);
    tensor k = key.template forward<D>(x, c.key, keys);
    tensor v = value.template forward<D>(x, c.value, keys);
    attended<tensor> kv =
        memory.template extend<of_memory<D>>({std::move(k), std::move(v)}, x, c.memory, keys);
    tensor y = queries.make(xq.rows, kv.values.cols), logs = queries.make_exact(xq.rows, heads);
    B::attention(y, logs, q, kv.keys, kv.values, call(c, queries, keys), queries.memory);
    if constexpr (passed<D>) {
      c.q = std::move(q);
      c.k = std::move(kv.keys);
      c.v = std::move(kv.values);
      c.logs = std::move(logs);
    }
    return drop.apply(output.template forward<of_output<D>>(y, c.output, queries), queries);
  }

  template <demand D, class G>
  auto to_product(tensor dy, cache<D>& c, G* g, const context<B>& queries) const {
    dy = drop.apply(std::move(dy), queries);
    return output.template backward<of_output<D>>(std::move(dy), c.output,
                                                  part<D>(g, &mirror::output), queries);
  }
  // The gradients of the queries and of what the projections made of keys and values; .x is what flows
  // into x from the memory, and may be empty.
  struct attended_back {
    tensor dq;
    attended<tensor> kv;
  };
  template <demand D, class G>
  attended_back attend_back(tensor dy, cache<D>& c, G* g, const context<B>& queries,
                            const context<B>& keys) const {
    tensor da = to_product<D>(std::move(dy), c, g, queries);
    tensor dq = queries.make(c.q.rows, c.q.cols), dk = keys.make(c.k.rows, c.k.cols),
           dv = keys.make(c.v.rows, c.v.cols);
    B::attention_backward(dq, dk, dv, da, c.q, c.k, c.v, c.logs, call(c, queries, keys),
                          queries.memory);
    attended<tensor> kv{std::move(dk), std::move(dv)};
    if constexpr (reached<memory_type>(of_memory<D>))
      kv = memory.template retract<of_memory<D>>(std::move(kv), c.memory,
                                                 part<D>(g, &mirror::memory), keys);
    return {std::move(dq), std::move(kv)};
  }
  // d.x and what flows into x from its keys and values, or nothing.
  template <demand D, class G>
  auto keys_and_values(attended<tensor> d, cache<D>& c, G* g, const context<B>& ctx) const {
    add_to<D>(d.x, key, std::move(d.keys), c.key, part<D>(g, &mirror::key), ctx);
    add_to<D>(d.x, value, std::move(d.values), c.value, part<D>(g, &mirror::value), ctx);
    if constexpr (D.input)
      return std::move(d.x);
    else
      return nothing{};
  }

  template <class Cache>
  attention_call<scalar> call(const Cache& c, const context<B>& queries,
                              const context<B>& keys) const {
    const double size = static_cast<double>(in()) / static_cast<double>(heads);
    const bool drops = queries.training && probability_dropout > 0;
    return {.queries = &queries.batch,
            .keys = &memory_type::key_rows(c.memory, keys),
            .heads = heads,
            .scale = static_cast<scalar>(1 / std::sqrt(size)),
            .dropout = static_cast<scalar>(drops ? probability_dropout : 0),
            .key = drops ? queries.dropout_at(place) : dropout_key{}};
  }

  // dx += the input gradient of one projection, where it is asked for.
  template <demand D, class L, class C, class G>
  static void add_to([[maybe_unused]] tensor& dx, const L& projection, tensor dy, C& c, G* g,
                     const context<B>& ctx) {
    if constexpr (reached<L>(D)) {
      auto d = projection.template backward<D>(std::move(dy), c, g, ctx);
      if constexpr (D.input) {
        if (!dx.data)
          dx = ctx.own(std::move(d));
        else
          B::add(dx, d);
      }
    }
  }
};

}  // namespace graft
