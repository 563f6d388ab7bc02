// SPDX-License-Identifier: MIT
// The small network that a bottleneck adapter is.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/layer.hpp>
#include <graft/core/numbers.hpp>
#include <graft/core/on_backend.hpp>
#include <graft/layer/activation.hpp>
#include <graft/layer/drop_path.hpp>
#include <graft/layer/dropout.hpp>
#include <graft/layer/layer_norm.hpp>
#include <graft/layer/linear.hpp>
#include <graft/tuning/adapter_gate.hpp>
#include <graft/tuning/adapter_scale.hpp>
#include <graft/tuning/adapter_tags.hpp>
#include <graft/tuning/bottleneck_spec.hpp>
#include <graft/tuning/linear_maps.hpp>

#include <cstdint>
#include <string_view>
#include <utility>

namespace graft {

// The adapter itself:  A(x) = drop(s · (U σ(D x + b) + b'));  with three matrices
// A(x) = drop(s · (U σ(M σ(D x + b) + b'') + b')).  D [width, in], M [inner, width], U [out, last].
// With a residual r it is A(x) + r. Parts that Form may ask for: ln_before, D reads N(x); s
// trained; gating, A(x) times g_s(x); ln_after, N(A(x)) + r, or N(A(x) + r) for
// adapter_residual_before_ln.
//
// Keeps x and the columns between the matrices when asked for its parameters' gradients, those
// before each σ when asked for its input's, and what its further parts keep. Maps says what D and U
// are. Houlsby et al. 2019, arXiv:1902.00751.
template <class Backend, adapter_form Form, class Maps>
struct adapter_branch {
  using backend_type = Backend;
  using B = backend_type;
  using tensor = typename B::tensor;
  using spec = typename Maps::spec;
  using down_type = typename Maps::down_type;
  using up_type = typename Maps::up_type;
  static constexpr bool learned = Form.scaling != adapter_scaling::fixed;

  // What Form does not ask for has no rows.
  layer_norm<B> ln_before;
  down_type down;
  linear<B> middle;
  up_type up;
  adapter_scale<B> learned_scale;
  adapter_gate<B> gate;
  layer_norm<B> ln_after;
  Maps maps;
  activation function = activation::relu;
  float scale = 1;
  adapter_init init = adapter_init::identity;
  graft::dropout<B> drop;
  drop_path<B> path;

  adapter_branch() = default;
  adapter_branch(index_t in, index_t out, const spec& s)
      : maps(s), function(s.activation), scale(s.scale), init(s.init) {
    if constexpr (requires { s.inner; })
      resize(in, out, s.width, s.inner);
    else
      resize(in, out, s.width, 0);
    if constexpr (Form.ln_before)
      ln_before = layer_norm<B>(in, 1e-5);
    if constexpr (Form.ln_after)
      ln_after = layer_norm<B>(out, 1e-5);
    if constexpr (learned)
      learned_scale = adapter_scale<B>(Form.scaling == adapter_scaling::channel ? out : 1);
    if constexpr (Form.gating)
      gate = adapter_gate<B>(in);
    drop.rate = s.dropout;
    path.rate = s.stochastic_depth;
  }

  index_t in() const { return down.in(); }
  index_t out() const { return up.out(); }
  bool three() const { return middle.out() > 0; }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::adapter_ln_before, z.ln_before...);
    f(at::adapter_down, z.down...);
    f(at::adapter_middle, z.middle...);
    f(at::adapter_up, z.up...);
    f(at::adapter_scale, z.learned_scale...);
    f(at::adapter_gate, z.gate...);
    f(at::adapter_ln_after, z.ln_after...);
  }
  template <backend To>
    requires movable_to<Maps, To>
  using on_backend = adapter_branch<To, Form, on_backend_t<Maps, To>>;
  template <class F, class... Z>
  static void settings(F&& f, Z&&... z) {
    f(z.function...);
    f(z.scale...);
    f(z.drop...);
    f(z.path.rate...);
    f(z.path.place...);
  }

  struct gradient {
    gradient_t<layer_norm<B>> ln_before;
    gradient_t<down_type> down;
    gradient_t<linear<B>> middle;
    gradient_t<up_type> up;
    gradient_t<adapter_scale<B>> learned_scale;
    gradient_t<adapter_gate<B>> gate;
    gradient_t<layer_norm<B>> ln_after;
  };

  // What stands behind the first matrix hands a gradient on; so does that matrix where a norm is
  // before.
  template <demand D>
  static constexpr demand inside{D.any(), D.params};
  template <demand D>
  static constexpr demand of_down = Form.ln_before ? inside<D> : D;
  template <demand D>
  struct cache {
    cache_t<layer_norm<B>, D> ln_before;
    cache_t<down_type, of_down<D>> down;
    cache_t<linear<B>, inside<D>> middle;
    cache_t<up_type, inside<D>> up;
    cache_t<adapter_scale<B>, inside<D>> learned_scale;
    cache_t<adapter_gate<B>, D> gate;
    cache_t<layer_norm<B>, inside<D>> ln_after;
  };
  template <demand D>
    requires(D.any())
  struct cache<D> {
    cache_t<layer_norm<B>, D> ln_before;
    cache_t<down_type, of_down<D>> down;
    cache_t<linear<B>, inside<D>> middle;
    cache_t<up_type, inside<D>> up;
    cache_t<adapter_scale<B>, inside<D>> learned_scale;
    cache_t<adapter_gate<B>, D> gate;
    cache_t<layer_norm<B>, inside<D>> ln_after;
    tensor z, m;  // before each σ
  };

  template <demand D>
  tensor forward(const tensor& x, cache<D>& c, const context<B>& k,
                 const tensor* residual = nullptr) const {
    tensor h = hidden<D>(x, c, k);
    tensor y = up.template forward<inside<D>>(h, c.up, k);
    h = {};
    if constexpr (learned)
      y = learned_scale.template forward<inside<D>>(y, c.learned_scale, k);
    else if (scale != 1)
      B::scale(y, static_cast<typename B::scalar>(scale));
    y = path.apply(drop.apply(std::move(y), k), k);
    if constexpr (Form.gating)
      y = gate.template apply<D>(x, std::move(y), c.gate, k);
    if constexpr (Form.ln_after) {
      if (Form.adapter_residual_before_ln && residual)
        B::add(y, *residual);
      y = ln_after.template forward<inside<D>>(y, c.ln_after, k);
    }
    if (!Form.adapter_residual_before_ln && residual)
      B::add(y, *residual);
    return y;
  }

  // The gradient of the residual goes to *residual where that is asked for.
  template <demand D, class G>
  auto backward(tensor dy, cache<D>& c, G* g, const context<B>& k,
                tensor* residual = nullptr) const {
    if constexpr (!D.any()) {
      return nothing{};
    } else {
      if (!Form.adapter_residual_before_ln && residual)
        *residual = dy;
      if constexpr (Form.ln_after) {
        dy = ln_after.template backward<inside<D>>(std::move(dy), c.ln_after,
                                                   part<D>(g, &gradient::ln_after), k);
        if (Form.adapter_residual_before_ln && residual)
          *residual = dy;
      }
      if constexpr (Form.gating) {
        auto dx = gate.template backward<D>(dy, c.gate, part<D>(g, &gradient::gate), k);
        auto through = backward_ungated<D>(std::move(dy), c, g, k);
        if constexpr (D.input) {
          B::add(through, dx);
          return through;
        } else {
          return nothing{};
        }
      } else {
        return backward_ungated<D>(std::move(dy), c, g, k);
      }
    }
  }

  static constexpr std::string_view method = Maps::method;
  decoration_numbers numbers() const {
    decoration_numbers n{{"width", down.out()},
                         {"scale", scale},
                         {"dropout", drop.rate},
                         {"stochastic_depth", path.rate}};
    if constexpr (requires(spec s) { s.inner; })
      n.set("inner", static_cast<double>(middle.out()));
    maps.numbers(n);
    return n;
  }
  // Throws input_error for impossible numbers, shape_error for sizes that Maps cannot have.
  void renumber(const decoration_numbers& n) {
    const auto width = n.count("width", 1), inner = n.count("inner", 0);
    const bool other_maps = maps.renumber(n);
    if (width || inner || other_maps)
      resize(in(), out(), width ? *width : down.out(), inner ? *inner : middle.out());
    n.take("scale", scale);
    n.take_rate("dropout", drop.rate);
    n.take_rate("stochastic_depth", path.rate);
  }
  void placed(std::uint32_t place) {
    drop.place = place;
    path.place = place + 1;
  }

  void initialize(random_stream& random) {
    maps.begin(down, init, false, random);
    if (three())
      linear_maps<B>::begin(middle, init, false, random);
    maps.begin(up, init, true, random);
    learned_scale.set(scale);
    if constexpr (Form.gating)
      gate.map.initialize_base(random);
    if constexpr (Form.ln_before)
      ln_before.initialize_base(random);
    if constexpr (Form.ln_after)
      ln_after.initialize_base(random);
  }

 private:
  void resize(index_t in, index_t out, index_t width, index_t inner) {
    down = maps.down(in, width);
    middle = inner > 0 ? linear<B>(width, inner) : linear<B>(0, 0, false);
    up = maps.up(inner > 0 ? inner : width, out);
  }

  // What U reads.
  template <demand D>
  tensor hidden(const tensor& x, cache<D>& c, const context<B>& k) const {
    tensor h;
    if constexpr (Form.ln_before)
      h = activated_down<D>(ln_before.template forward<D>(x, c.ln_before, k), c, k);
    else
      h = activated_down<D>(x, c, k);
    if (three()) {
      tensor m = middle.template forward<inside<D>>(h, c.middle, k);
      h = activated(m, k);
      if constexpr (D.any())
        c.m = std::move(m);
    }
    return h;
  }
  template <demand D>
  tensor activated_down(const tensor& x, cache<D>& c, const context<B>& k) const {
    activation_layer<B> f{function};
    typename activation_layer<B>::template cache<demand{D.any(), params::none}> kept;
    tensor h = f.template forward_of<of_down<D>>(down, x, c.down, kept, k);
    if constexpr (D.any())
      c.z = std::move(kept.x);
    return h;
  }
  tensor activated(const tensor& z, const context<B>& k) const {
    tensor h = k.make(z.rows, z.cols);
    B::activate(h, z, function);
    return h;
  }

  template <demand D, class G>
  auto backward_ungated(tensor dy, cache<D>& c, G* g, const context<B>& k) const {
    dy = drop.apply(path.apply(std::move(dy), k), k);
    if constexpr (learned) {
      dy = learned_scale.template backward<inside<D>>(std::move(dy), c.learned_scale,
                                                      part<D>(g, &gradient::learned_scale), k);
    } else if (scale != 1) {
      dy = k.own(std::move(dy));
      B::scale(dy, static_cast<typename B::scalar>(scale));
    }
    tensor dh = up.template backward<inside<D>>(std::move(dy), c.up, part<D>(g, &gradient::up), k);
    if (three()) {
      B::activate_backward(dh, dh, c.m, function);
      dh = middle.template backward<inside<D>>(std::move(dh), c.middle,
                                               part<D>(g, &gradient::middle), k);
    }
    B::activate_backward(dh, dh, c.z, function);
    auto dn =
        down.template backward<of_down<D>>(std::move(dh), c.down, part<D>(g, &gradient::down), k);
    if constexpr (Form.ln_before)
      return ln_before.template backward<D>(std::move(dn), c.ln_before,
                                            part<D>(g, &gradient::ln_before), k);
    else
      return dn;
  }
};

}  // namespace graft
