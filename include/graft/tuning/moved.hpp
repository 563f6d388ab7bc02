// SPDX-License-Identifier: MIT
// A site on another backend.
#pragma once

#include <graft/core/dense_form.hpp>
#include <graft/core/layer.hpp>
#include <graft/core/on_backend.hpp>
#include <graft/core/site.hpp>
#include <graft/tuning/base_part.hpp>

#include <concepts>
#include <cstddef>
#include <cstring>
#include <memory>
#include <mutex>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace graft {

template <layer L, backend To>
  requires movable_to<L, To>
struct moved_layer;

// Around a layer over rows:  on(at::head, moved<cpu<float>>{}),
// on(at::feed_forward, moved<cuda<bf16>>{}, top(2)). The rule comes after those whose decorations are to
// move along; what decorates the site after it stays. A site that is on that backend already stays, too.
template <backend To>
struct moved {
  static constexpr std::string_view name = "moved";
  static constexpr bool in_files = false;  // computes what the layer does: no file need tell of it
  constexpr bool row_by_row() const { return true; }

  template <class L, class Site, auto Spec>
  static constexpr bool fits = layer<L> && movable_to<L, To>;
  template <class Site, auto Spec>
  static constexpr bool merges = true;
  template <class L, class Site, auto Spec>
  struct misfit {
    static constexpr bool rows = layer<L>;
    static_assert(rows,
                  "graft: moved needs a layer over rows (at::layer, at::attention, at::feed_forward, "
                  "at::head and at::linear are such; joins, tables and at::memory are not)");
    static_assert(!rows,
                  "graft: moved: this layer, or a part or decoration of it, has no form on another "
                  "backend (core/on_backend.hpp; a decoration of the same site may come after this rule)");
  };
  template <layer L, auto Spec>
  using apply = moved_layer<L, To>;
};

namespace detail {

// The counterpart of a layer on backend To. It follows the layer: in each step it is given what differs.
// Nothing is written where nothing does, so that several threads may predict.
template <class L, class To>
class counterpart {
  using B = typename L::backend_type;

 public:
  using type = on_backend_t<L, To>;

  const type& follow(const L& layer) {
    const std::lock_guard lock(mutex_);
    std::size_t i = 0;
    for_each_counterpart(layer, there_, [&](const auto& from, auto& to) {
      using weight = std::remove_cvref_t<decltype(from)>;
      using weight_there = std::remove_cvref_t<decltype(to)>;
      const bool sized = to.rows == from.rows && to.cols == from.cols;
      if constexpr (std::same_as<weight, weight_there>) {
        if (!sized || to.data != from.data || to.owner != from.owner)
          to = from;
      } else {
        if (i == seen_.size())
          seen_.emplace_back();
        if constexpr (std::same_as<weight, typename B::parameter>)
          take(from, to, sized, seen_[i++]);
        else
          share(from, to, sized, seen_[i++]);
      }
    });
    return there_;
  }
  // As of the last follow().
  const type& operator*() const { return there_; }

 private:
  using scalar = typename B::scalar;
  // What a matrix was when it was last brought: a trained one by its values, a frozen one by its memory.
  struct seen {
    std::vector<scalar> values;
    const void* data = nullptr;
    std::shared_ptr<const void> owner;
  };

  void take(const typename B::parameter& from, typename To::parameter& to, bool sized, seen& last) {
    std::vector<scalar> copy;
    std::span<const scalar> now;
    if constexpr (std::same_as<typename B::parameter::value_type, scalar>) {
      now = {from.data, static_cast<std::size_t>(from.size())};
    } else {
      copy = B::on_host(from);
      now = copy;
    }
    if (!sized)
      to = typename To::parameter(from.rows, from.cols);
    else if (last.values.size() == now.size() &&
             (now.empty() || std::memcmp(last.values.data(), now.data(), now.size_bytes()) == 0))
      return;
    last.values.assign(now.begin(), now.end());
    To::from_host(to, last.values);
  }

  void share(const typename B::frozen_weight& from, typename To::frozen_weight& to, bool sized,
             seen& last) {
    if (sized && last.data == from.data && last.owner == from.owner)
      return;
    last.data = from.data;
    last.owner = from.owner;
    const auto count = static_cast<std::size_t>(from.size());
    if (from.data) {
      to = frozen_from<To>(std::span<const scalar>(from.data, count), from.rows, from.cols,
                           from.owner);
    } else if (typename B::const_view(from).data) {  // beyond the host's reach
      const auto copy = std::make_shared<std::vector<scalar>>(B::on_host(from));
      to = frozen_from<To>(std::span<const scalar>(*copy), from.rows, from.cols, copy);
    } else {
      to = typename To::frozen_weight(from.rows, from.cols);
    }
  }

  std::mutex mutex_;
  type there_;
  std::vector<seen> seen_;
};

// Each copy of a layer has a counterpart of its own.
template <class L, class To>
class own_counterpart {
 public:
  own_counterpart() = default;
  own_counterpart(const own_counterpart&) : own_counterpart() {}
  own_counterpart(own_counterpart&&) noexcept = default;
  own_counterpart& operator=(own_counterpart other) noexcept {
    std::swap(of_, other.of_);
    return *this;
  }
  counterpart<L, To>* operator->() const { return of_.get(); }
  const typename counterpart<L, To>::type& operator*() const { return **of_; }

 private:
  std::unique_ptr<counterpart<L, To>> of_ = std::make_unique<counterpart<L, To>>();
};

}  // namespace detail

// y = L(x), computed on backend To.
//
// L and its parameters stay in the model's lists, its store and its files. Its counterpart on To computes:
// frozen matrices are brought there once (shared where both backends read the same numbers), trained ones
// in the forward after each change (the host looks for one in every forward, so that those of a device are
// read back), and their gradients, of tensors of the step, come back and are added. x and y cross in
// forward, dy and dx in backward: a copy where both backends have one memory, else through the host, which
// waits for them and allocates.
//
// Keeps what L keeps, on To. A parameter lies on both sides, with a copy of the trained ones on the host;
// where both backends hold them alike there is one, and its gradient is added to where it lies. Dropout
// draws the masks that L draws.
template <layer L, backend To>
  requires movable_to<L, To>
struct moved_layer : detail::affine_as<L> {
  using backend_type = typename L::backend_type;
  using B = backend_type;
  using tensor = typename B::tensor;
  using gradient = gradient_t<L>;
  using far_type = on_backend_t<L, To>;

  L base;
  detail::own_counterpart<L, To> there;

  moved_layer() = default;
  explicit moved_layer(L layer, const moved<To>& = {}) : base(std::move(layer)) {}

  index_t in() const requires requires(const L& l) { l.in(); } { return base.in(); }
  index_t out() const requires requires(const L& l) { l.out(); } { return base.out(); }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::base, detail::base_part(z)...);
  }

  template <demand D>
  using cache = typename far_type::template cache<D>;

  template <demand D>
  tensor forward(const tensor& x, cache<D>& c, const context<B>& k) const {
    const far_type& far = there->follow(base);
    const context<To> far_k = across_of(k);
    return detail::across<To, B>(
        far.template forward<D>(detail::across<B, To>(x, far_k), c, far_k), k);
  }

  template <demand D, class G>
  auto backward(tensor dy, cache<D>& c, [[maybe_unused]] G* g, const context<B>& k) const {
    if constexpr (!reached<L>(D)) {
      return nothing{};
    } else {
      const context<To> far_k = across_of(k);
      const auto back = [&](auto* there_gradient) {
        auto far_dy = detail::across<B, To>(std::move(dy), far_k);
        auto dx = (*there).template backward<D>(std::move(far_dy), c, there_gradient, far_k);
        if constexpr (D.input)
          return detail::across<To, B>(std::move(dx), k);
        else
          return nothing{};
      };
      if constexpr (!D.trains() || !trainable<L>) {
        return back(static_cast<nothing*>(nullptr));
      } else {
        far_gradient made(*there, *g, far_k);
        auto dx = back(&made.gradient);
        made.add_to_near(k);
        return dx;
      }
    }
  }

  dense_form<B> as_dense() const
    requires(dense_layer<L> && has_dense_form<L>)
  {
    return dense_form_of(base);
  }

 private:
  static context<To> across_of(const context<B>& k) {
    return {detail::workspace_of<To>(k.memory), k.batch, k.training, k.seed, k.step, nullptr, k.draws};
  }

  // The gradient that the counterpart adds to, and where it goes.
  class far_gradient {
   public:
    gradient_t<far_type> gradient;

    far_gradient(const far_type& far, gradient_t<L>& near, const context<To>& k) {
      detail::for_each_gradient(far, gradient, near, [&](auto& other, auto& here) {
        using number = typename To::parameter::value_type;
        if (here.size() == 0)
          return;
        if constexpr (std::same_as<typename B::parameter, typename To::parameter>) {
          other = here;
        } else {
          auto t = k.make_exact(here.rows, here.cols);
          To::fill(t, 0);
          other = typename To::parameter(static_cast<number*>(t.data), here.rows, here.cols, {});
          pieces_.push_back({std::move(t), &here});
        }
      });
    }
    void add_to_near(const context<B>& k) const {
      for (const piece& p : pieces_) {
        const tensor t = k.make_exact(p.there.rows, p.there.cols);
        detail::cross<To, B>(t, p.there);
        B::add(*p.here, t);
      }
    }

   private:
    struct piece {
      typename To::tensor there;
      typename B::parameter* here;
    };
    std::vector<piece> pieces_;
  };
};

}  // namespace graft
