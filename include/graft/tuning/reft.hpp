// SPDX-License-Identifier: MIT
// ReFT: representations edited at the first and last tokens of every sequence.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/layer.hpp>
#include <graft/core/numbers.hpp>
#include <graft/core/site.hpp>
#include <graft/layer/dropout.hpp>
#include <graft/tuning/reft_unit.hpp>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

namespace graft {

namespace at {
struct reft_first_t {
  static constexpr std::string_view name = "reft.first";
};
struct reft_last_t {
  static constexpr std::string_view name = "reft.last";
};
inline constexpr reft_first_t reft_first{};
inline constexpr reft_last_t reft_last{};
}  // namespace at

// What becomes of a row h:
//   loreft  h + (W h + b − R h) R, the rows of R orthonormal
//   noreft  the same with any R
//   direft  h + (W h + b) R with any R
enum class reft_kind : unsigned char { loreft, noreft, direft };

constexpr std::string_view name_of(reft_kind k) {
  switch (k) {
    case reft_kind::loreft:
      return "loreft";
    case reft_kind::noreft:
      return "noreft";
    case reft_kind::direft:
      return "direft";
  }
  return "?";
}

template <sized_layer L, reft_kind Kind>
struct reft_layer;

// | option  | meaning                                             | default |
// | rank    | rows of W and R                                     | 1       |
// | prefix  | how many of a sequence's first tokens are edited    | 3       |
// | suffix  | how many of its last, by a W and R of their own     | 0       |
// | dropout | rate on the edited rows while training              | 0.05    |
// | kind    | loreft, noreft or direft                            | loreft  |
// Where a sequence is too short for both, its last tokens come first.
struct reft {
  int rank = 1;
  int prefix = 3;
  int suffix = 0;
  float dropout = 0.05f;
  reft_kind kind = reft_kind::loreft;

  static constexpr std::string_view name = "reft";

  constexpr void check() const {
    if (rank < 1)
      throw "graft: reft.rank must be at least 1";
    if (prefix < 0 || suffix < 0 || prefix + suffix == 0)
      throw "graft: reft.prefix and reft.suffix must be at least 0, and one of them more";
    if (!(dropout >= 0 && dropout < 1))
      throw "graft: reft.dropout must be at least 0 and below 1";
  }
  template <class F>
  constexpr void describe(F&& f) const {
    f("rank", rank);
    f("prefix", prefix);
    f("suffix", suffix);
    f("dropout", dropout);
    f("what", name_of(kind));
  }

  template <class L, class Site, auto Spec>
  static constexpr bool fits = [] {
    if constexpr (std::derived_from<Site, at::layer_t>)
      return sized_layer<L>;
    else
      return false;
  }();
  template <class L, class Site, auto Spec>
  struct misfit {
    static_assert(
        sizeof(L) == 0,
        "graft: reft edits what a whole Transformer layer puts out: it goes around at::layer "
        "only");
  };
  template <sized_layer L, auto Spec>
  using apply = reft_layer<L, Spec.kind>;
};

// The layer, and some rows of its output edited; see `reft_kind`. Which rows follows from the
// batch.
//
// A unit for the first tokens and one for the last, each with a W and an R of its own. Keeps what
// they keep of the edited rows. Throws shape_error when its output's rows are not those of the
// batch. Wu et al. 2024, arXiv:2404.03592.
template <sized_layer L, reft_kind Kind>
struct reft_layer {
  using backend_type = typename L::backend_type;
  using B = backend_type;
  using tensor = typename B::tensor;
  using view = typename B::view;
  using projection =
      std::conditional_t<Kind == reft_kind::loreft, orthonormal_rows<B>, free_rows<B>>;
  using unit = reft_unit<B, projection, Kind != reft_kind::direft>;

  L base;
  unit first, last;
  index_t prefix = 0, suffix = 0;
  graft::dropout<B> drop;

  reft_layer() = default;
  reft_layer(L layer, const reft& spec)
      : base(std::move(layer)), prefix(spec.prefix), suffix(spec.suffix) {
    drop.rate = spec.dropout;
    resize(spec.rank);
  }
  reft_layer(L layer, const reft& spec, random_stream& random)
      : reft_layer(std::move(layer), spec) {
    for (unit* u : {&first, &last}) {
      u->initialize(random);
      u->projection.initialize(random);
    }
  }

  index_t in() const { return base.in(); }
  index_t out() const { return base.out(); }
  index_t rank() const { return std::max(first.rank(), last.rank()); }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::base, z.base...);
    f(at::reft_first, z.first...);
    f(at::reft_last, z.last...);
  }
  struct gradient {
    gradient_t<L> base;
    gradient_t<unit> first, last;
  };

  template <demand D>
  static constexpr demand of_unit = D.after(reached<L>(D));
  template <demand D>
  struct cache {
    cache_t<L, D> base;
    cache_t<unit, of_unit<D>> first, last;
  };

  template <demand D>
  tensor forward(const tensor& x, cache<D>& c, const context<B>& k) const {
    tensor y = k.own(base.template forward<D>(x, c.base, k));
    expect_size("reft: rows of the batch", k.batch.rows(), y.rows);
    const auto edit = [&](const unit& u, auto& kept, tokens which) {
      const tensor rows = taken(y, which, k);
      if (rows.rows == 0)
        return;
      tensor edited = u.template forward<of_unit<D>>(rows, kept, k);
      drop_rows(edited, which, k);
      put_back(y, edited, which, k);
    };
    edit(first, c.first, tokens::front);
    edit(last, c.last, tokens::back);
    return y;
  }

  template <demand D, class G>
  auto backward(tensor dy, cache<D>& c, G* g, const context<B>& k) const {
    if constexpr (!of_unit<D>.any()) {
      return nothing{};
    } else {
      if constexpr (of_unit<D>.input)
        dy = k.own(std::move(dy));
      const auto edit = [&](const unit& u, auto& kept, auto* unit_gradient, tokens which) {
        tensor rows = taken(dy, which, k);
        if (rows.rows == 0)
          return;
        drop_rows(rows, which, k);
        auto dx = u.template backward<of_unit<D>>(std::move(rows), kept, unit_gradient, k);
        if constexpr (of_unit<D>.input)
          put_back(dy, dx, which, k);
      };
      edit(first, c.first, part<D>(g, &gradient::first), tokens::front);
      edit(last, c.last, part<D>(g, &gradient::last), tokens::back);
      if constexpr (reached<L>(D))
        return base.template backward<D>(std::move(dy), c.base, part<D>(g, &gradient::base), k);
      else
        return nothing{};
    }
  }

  static constexpr std::string_view method = reft::name;
  decoration_numbers numbers() const {
    return {{"rank", rank()}, {"prefix", prefix}, {"suffix", suffix}, {"dropout", drop.rate}};
  }
  // Throws input_error for impossible numbers, shape_error for a rank above the width.
  void renumber(const decoration_numbers& n) {
    const index_t r = n.count("rank", 1).value_or(static_cast<int>(rank()));
    const index_t p = n.count("prefix", 0).value_or(static_cast<int>(prefix));
    const index_t s = n.count("suffix", 0).value_or(static_cast<int>(suffix));
    if (p + s == 0)
      throw input_error("reft.prefix and reft.suffix: expected one of them above 0");
    n.take_rate("dropout", drop.rate);
    if (r != rank() || p != prefix || s != suffix) {
      prefix = p;
      suffix = s;
      resize(r);
    }
  }

  // Told once by the model: the number under which this place draws its dropout masks.
  void placed(std::uint32_t place) { drop.place = place; }

 private:
  enum class tokens { front, back };

  // The chosen rows of every sequence: f(row in the batch, row among the chosen, how many). Returns
  // how many there are of all.
  template <class F>
  index_t each(tokens which, const layout& batch, F&& f) const {
    index_t n = 0;
    for (index_t s = 0; s < batch.sequences(); ++s) {
      const index_t back = std::min(suffix, batch.length(s));
      const index_t front = std::min(prefix, batch.length(s) - back);
      const index_t count = which == tokens::front ? front : back;
      if (count > 0)
        f(which == tokens::front ? batch.first(s) : batch.first(s + 1) - back, n, count);
      n += count;
    }
    return n;
  }

  tensor taken(const tensor& from, tokens which, const context<B>& k) const {
    tensor rows = k.make(each(which, k.batch, [](index_t, index_t, index_t) {}), from.cols);
    each(which, k.batch, [&](index_t at, index_t to, index_t n) {
      B::copy(view(rows).rows_of(to, n), view(from).rows_of(at, n));
    });
    return rows;
  }
  void put_back(tensor& into, const tensor& rows, tokens which, const context<B>& k) const {
    each(which, k.batch, [&](index_t at, index_t from, index_t n) {
      B::copy(view(into).rows_of(at, n), view(rows).rows_of(from, n));
    });
  }
  void drop_rows(tensor& rows, tokens which, const context<B>& k) const {
    if (!drop.acts(k))
      return;
    each(which, k.batch, [&](index_t at, index_t to, index_t n) {
      const view some = view(rows).rows_of(to, n);
      B::dropout(some, some, static_cast<typename B::scalar>(drop.rate), k.dropout_at(drop.place),
                 std::span(k.batch.names)
                     .subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(n)));
    });
  }
  // A unit for tokens of which there are none has no parameters.
  void resize(index_t r) {
    first = prefix > 0 ? unit(r, base.out()) : unit();
    last = suffix > 0 ? unit(r, base.out()) : unit();
  }
};

}  // namespace graft
