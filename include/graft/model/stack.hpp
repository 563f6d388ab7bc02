// SPDX-License-Identifier: MIT
// A stack of Transformer layers of any depth, in which equal layers share one type.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/first_rows.hpp>
#include <graft/core/layer.hpp>
#include <graft/core/site.hpp>
#include <graft/tuning/occupant.hpp>

#include <algorithm>
#include <array>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace graft {

namespace detail {

// The distinct finite bounds of a tuning's rules, ascending: at the bottom of the stack, or at its top.
template <tuning T>
struct depth_cuts {
  std::array<int, 2 * static_cast<std::size_t>(T::rules.size) + 1> at{};
  int count = 0;

  constexpr explicit depth_cuts(bool from_top) {
    for_each_rule<T>([&](auto r) {
      constexpr depth_range where = rule_at<T, r()>.where;
      cut(from_top ? where.top : where.bottom);
      cut(from_top ? where.below : where.first);
    });
    std::sort(at.begin(), at.begin() + count);
  }
  constexpr void cut(int bound) {
    const auto end = at.begin() + count;
    if (0 < bound && bound < unbounded && std::find(at.begin(), end, bound) == end)
      at[static_cast<std::size_t>(count++)] = bound;
  }
  constexpr int operator[](int i) const { return at[static_cast<std::size_t>(i)]; }
  constexpr int reach() const { return count == 0 ? 0 : (*this)[count - 1]; }
};

template <tuning T>
inline constexpr depth_cuts<T> bottom_cuts{false};
template <tuning T>
inline constexpr depth_cuts<T> top_cuts{true};

// Runs of equal layers, from the bottom: those between the bottom cuts, the middle, those between the
// top cuts.
template <tuning T>
inline constexpr int run_count = bottom_cuts<T>.count + 1 + top_cuts<T>.count;

// A representative of run r.
template <tuning T>
constexpr depth run_depth(int r) {
  constexpr int far = unbounded - 1;
  const int bottom_runs = bottom_cuts<T>.count;
  if (r < bottom_runs)
    return {r == 0 ? 0 : bottom_cuts<T>[r - 1], far};
  if (r == bottom_runs)
    return {far, far};
  const int from_top = run_count<T> - 1 - r;
  return {far, from_top == 0 ? 0 : top_cuts<T>[from_top - 1]};
}

// How many of `layers` layers run r has.
template <tuning T>
constexpr index_t run_length(int r, index_t layers) {
  const int bottom_runs = bottom_cuts<T>.count;
  if (r < bottom_runs)
    return bottom_cuts<T>[r] - (r == 0 ? 0 : bottom_cuts<T>[r - 1]);
  if (r == bottom_runs)
    return layers - bottom_cuts<T>.reach() - top_cuts<T>.reach();
  const int from_top = run_count<T> - 1 - r;
  return top_cuts<T>[from_top] - (from_top == 0 ? 0 : top_cuts<T>[from_top - 1]);
}

struct numbered {
  std::string name;
};

}  // namespace detail

// x -> block(block(… x)). `Block<B, Scope>` is the layer type at a scope.
//
// The lowest trained layer is asked for no input gradient unless the stack is, and layers below it
// keep nothing and are not gone back through. Throws graft::error when the rules' depths do not fit.
template <class Backend, class Scope, template <class, class> class Block>
class stack {
 public:
  using backend_type = Backend;
  using B = backend_type;
  using tensor = typename B::tensor;
  using T = typename Scope::tuning_type;
  static constexpr int runs = detail::run_count<T>;

  template <int R>
  using block =
      node<typename Scope::template at_depth<detail::run_depth<T>(R)>, at::layer_t,
           Block<B, typename Scope::template at_depth<detail::run_depth<T>(R)>::template enter<
                        at::layer_t>>>;

 private:
  template <class Runs>
  struct over;
  template <int... R>
  struct over<std::integer_sequence<int, R...>> {
    using blocks = std::tuple<std::vector<block<R>>...>;
    using gradients = std::tuple<std::vector<gradient_t<block<R>>>...>;
    static constexpr bool any_trainable = (trainable<block<R>> || ...);
    static constexpr int lowest() {
      int low = runs;
      ((low = trainable<block<R>> && R < low ? R : low), ...);
      return low;
    }
  };
  using all = over<std::make_integer_sequence<int, runs>>;
  static constexpr auto each = std::make_integer_sequence<int, runs>{};

 public:
  typename all::blocks blocks;

  stack() = default;
  template <class Config>
  explicit stack(const Config& config) {
    const index_t reach = detail::bottom_cuts<T>.reach() + detail::top_cuts<T>.reach();
    if (reach > config.layers)
      throw error("recipe: rules with bottom(" + std::to_string(detail::bottom_cuts<T>.reach()) +
                  ") and top(" + std::to_string(detail::top_cuts<T>.reach()) +
                  ") do not fit a model of " + std::to_string(config.layers) + " layers");
    for_each_run([&]<int R>() {
      using at_run = typename Scope::template at_depth<detail::run_depth<T>(R)>;
      using bare = Block<B, typename at_run::template enter<at::layer_t>>;
      for (index_t i = 0; i < detail::run_length<T>(R, config.layers); ++i)
        std::get<R>(blocks).push_back(make_node<at_run, at::layer_t>(bare(config)));
    });
  }

  index_t depth() const {
    index_t n = 0;
    for_each_run([&]<int R>() { n += static_cast<index_t>(std::get<R>(blocks).size()); });
    return n;
  }

  struct mirror {
    typename all::gradients blocks;
  };
  using gradient = std::conditional_t<all::any_trainable, mirror, nothing>;

  // Gives a gradient this stack's depth.
  void shape(mirror& g) const {
    for_each_run([&]<int R>() { std::get<R>(g.blocks).resize(std::get<R>(blocks).size()); });
  }

  template <class F, class First, class... Z>
  static void parts(F&& f, First&& first, Z&&... z) {
    std::size_t number = 0;
    for_each_run([&]<int R>() {
      for (std::size_t i = 0; i < std::get<R>(first.blocks).size(); ++i)
        f(detail::numbered{"layer." + std::to_string(number++)}, std::get<R>(first.blocks)[i],
          std::get<R>(z.blocks)[i]...);
    });
  }

  // What run R is asked for; its lowest layer where it is the lowest trained one.
  template <demand D, int R>
  static constexpr demand of_run = R >= all::lowest() && D.trains() ? D.after(true) : D;
  template <demand D, int R>
  static constexpr bool has_floor = R == all::lowest() && of_run<D, R> != D;

  template <demand D, int R>
  struct run_cache {
    std::vector<cache_t<block<R>, of_run<D, R>>> above;
    std::conditional_t<has_floor<D, R>, cache_t<block<R>, D>, nothing> floor;
  };

 private:
  template <demand D, class Runs>
  struct caches_of;
  template <demand D, int... R>
  struct caches_of<D, std::integer_sequence<int, R...>> {
    using type = std::tuple<run_cache<D, R>...>;
  };

 public:
  template <demand D>
  struct cache {
    typename caches_of<D, std::make_integer_sequence<int, runs>>::type of;
  };

  // Layers below the lowest run that is trained.
  index_t frozen_layers() const {
    index_t n = 0;
    for_each_run([&]<int R>() {
      n += R < all::lowest() ? static_cast<index_t>(std::get<R>(blocks).size()) : 0;
    });
    return n;
  }

  template <demand D>
  tensor forward(tensor x, cache<D>& c, const context<B>& k) const {
    return forward_above<D>(forward_below<D>(std::move(x), c, k), c, k);
  }
  // forward in two parts: through the frozen layers, and on from there.
  template <demand D>
  tensor forward_below(tensor x, cache<D>& c, const context<B>& k) const {
    return forward_runs<D, 0, all::lowest(), false>(std::move(x), c, k, k);
  }
  template <demand D>
  tensor forward_above(tensor x, cache<D>& c, const context<B>& k) const {
    return forward_runs<D, all::lowest(), runs, false>(std::move(x), c, k, k);
  }
  template <demand D, class G>
  auto backward(tensor dy, cache<D>& c, G* g, const context<B>& k) const {
    return downward<D, false>(std::move(dy), c, g, k, k);
  }

  // The topmost block makes no other rows (core/first_rows.hpp), where it can do without.
  template <demand D>
  tensor forward_first(tensor x, cache<D>& c, const context<B>& k, const context<B>& first) const {
    x = forward_runs<D, 0, runs, true>(std::move(x), c, k, first);
    return top_gives_first_rows() ? x : first_rows(x, k);
  }
  template <demand D>
  tensor forward_above_first(tensor x, cache<D>& c, const context<B>& k,
                             const context<B>& first) const {
    x = forward_runs<D, all::lowest(), runs, true>(std::move(x), c, k, first);
    return all::lowest() < runs && top_gives_first_rows() ? x : first_rows(x, k);
  }
  template <demand D, class G>
  auto backward_first(tensor dy, cache<D>& c, G* g, const context<B>& k,
                      const context<B>& first) const {
    if (!top_gives_first_rows())
      dy = at_first_rows(dy, k);
    return downward<D, true>(std::move(dy), c, g, k, first);
  }

 private:
  static constexpr int top = runs - 1;
  bool top_gives_first_rows() const {
    return gives_first_rows<block<top>> && !std::get<top>(blocks).empty();
  }
  template <int R>
  bool is_top(std::size_t i) const {
    return R == top && i + 1 == std::get<R>(blocks).size();
  }

  // Runs From … Until − 1; with First, of the topmost block the first rows alone.
  template <demand D, int From, int Until, bool First>
  tensor forward_runs(tensor x, cache<D>& c, const context<B>& k, const context<B>& first) const {
    for_each_run([&]<int R>() {
      if constexpr (From <= R && R < Until) {
        constexpr bool narrows = First && R == top;
        const auto& run = std::get<R>(blocks);
        auto& kept = std::get<R>(c.of);
        kept.above.resize(run.size());
        for (std::size_t i = 0; i < run.size(); ++i) {
          if constexpr (has_floor<D, R>)
            if (i == 0) {
              x = through<D, narrows>(run[i], is_top<R>(i), x, kept.floor, k, first);
              continue;
            }
          x = through<of_run<D, R>, narrows>(run[i], is_top<R>(i), x, kept.above[i], k, first);
        }
      }
    });
    return x;
  }
  template <demand D, bool First, class L, class C>
  static tensor through(const L& block, [[maybe_unused]] bool is_top, const tensor& x, C& c,
                        const context<B>& k, [[maybe_unused]] const context<B>& first) {
    if constexpr (First && gives_first_rows<L>)
      if (is_top)
        return block.template forward_first<D>(x, c, k, first);
    return block.template forward<D>(x, c, k);
  }

  // Empties the cache on its way down, so that memory is free as soon as it can be.
  template <demand D, bool First, class G>
  auto downward(tensor dy, cache<D>& c, G* g, const context<B>& k, const context<B>& first) const {
    for_each_run_down([&]<int R>() {
      if constexpr (reached<block<R>>(of_run<D, R>)) {
        const auto& run = std::get<R>(blocks);
        auto& kept = std::get<R>(c.of);
        for (std::size_t i = run.size(); i-- > 0;) {
          const auto block_gradient = gradient_of<D, R>(g, i);
          if constexpr (has_floor<D, R>)
            if (i == 0) {
              auto dx = back_through<D, First && R == top>(run[i], is_top<R>(i), std::move(dy),
                                                           kept.floor, block_gradient, k, first);
              if constexpr (D.input)
                dy = std::move(dx);
              kept.floor = {};
              continue;
            }
          auto dx = back_through<of_run<D, R>, First && R == top>(
              run[i], is_top<R>(i), std::move(dy), kept.above[i], block_gradient, k, first);
          if constexpr (of_run<D, R>.input)
            dy = std::move(dx);
          kept.above[i] = {};
        }
      }
    });
    if constexpr (D.input)
      return dy;
    else
      return nothing{};
  }
  template <demand D, bool First, class L, class C, class G>
  static auto back_through(const L& block, [[maybe_unused]] bool is_top, tensor dy, C& c, G* g,
                           const context<B>& k, [[maybe_unused]] const context<B>& first) {
    if constexpr (First && gives_first_rows<L>)
      if (is_top)
        return block.template backward_first<D>(std::move(dy), c, g, k, first);
    return block.template backward<D>(std::move(dy), c, g, k);
  }

  template <class F>
  static void for_each_run(F&& f) {
    [&]<int... R>(std::integer_sequence<int, R...>) { (f.template operator()<R>(), ...); }(each);
  }
  template <class F>
  static void for_each_run_down(F&& f) {
    [&]<int... R>(std::integer_sequence<int, R...>) {
      (f.template operator()<runs - 1 - R>(), ...);
    }(each);
  }
  template <demand D, int R, class G>
  static auto gradient_of([[maybe_unused]] G* g, [[maybe_unused]] std::size_t i) {
    if constexpr (D.trains() && !std::is_same_v<G, nothing> && trainable<block<R>>)
      return &std::get<R>(g->blocks)[i];
    else
      return static_cast<nothing*>(nullptr);
  }
};

}  // namespace graft
