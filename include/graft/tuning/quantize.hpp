// SPDX-License-Identifier: MIT
// Frozen weights in 16, 8 or 4 bits, under whatever is trained on them.
#pragma once

#include <graft/core/dense_form.hpp>
#include <graft/core/error.hpp>
#include <graft/core/layer.hpp>
#include <graft/core/on_backend.hpp>
#include <graft/core/quantized.hpp>
#include <graft/core/site.hpp>
#include <graft/tuning/dense_weight.hpp>
#include <graft/tuning/lora_spec.hpp>

#include <memory>
#include <string_view>
#include <utility>
#include <vector>

namespace graft {

template <frozen_affine L, number_format Format, bool Inputs = false>
struct quantized_linear;

// QLoRA:  on(at::linear, quantize{.to = number_format::nf4}), on(at::linear, lora{.rank = 8}).
// The rule comes before those that decorate the same site.
//
// | option | meaning                                                                   | default |
// | to     | bf16, int8 or nf4 (core/quantized.hpp)                                    | nf4     |
// | inputs | with int8: every row of inputs is rounded to 8 bits, too, as it is met    | false   |
struct quantize {
  number_format to = number_format::nf4;
  bool inputs = false;

  static constexpr std::string_view name = "quantize";
  static constexpr bool in_files = false;  // what is trained fits the weights in any form

  constexpr void check() const {
    if (inputs && to != number_format::int8)
      throw "graft: quantize.inputs rounds inputs to the 8 bits of int8 weights: quantize.to must be int8";
  }
  constexpr bool row_by_row() const { return true; }
  template <class F>
  constexpr void describe(F&& f) const {
    f("to", name_of(to));
    f("inputs", inputs);
  }

  template <class L, class Site, auto Spec>
  static constexpr bool fits = frozen_affine<L>;
  template <class Site, auto Spec>
  static constexpr bool merges = true;
  template <class L, class Site, auto Spec>
  struct misfit {
    static constexpr bool decorated = dense_layer<L> && requires(const L& l) { l.base; };
    static constexpr bool trained =
        dense_layer<L> && !decorated && requires { requires trainable<L>; };
    static constexpr bool other = !decorated && !trained;
    static_assert(!decorated,
                  "graft: quantize holds the weight of a linear layer in fewer bits, and this one "
                  "is decorated already (put the quantize rule before the others)");
    static_assert(!trained,
                  "graft: quantize holds a frozen weight in fewer bits, and this layer is trained");
    static_assert(!other,
                  "graft: quantize needs a frozen linear layer, and none stands at this site "
                  "(at::linear selects them all)");
  };
  template <frozen_affine L, auto Spec>
  using apply = quantized_linear<L, Spec.to, Spec.inputs>;
};

// y = x Ŵᵀ + b with Ŵ what the format makes of the frozen W [out, in]; b stays as it is.
//
// base_filled() makes Ŵ and lets go of W, which is then listed with its sizes and without values. Ŵ is shared by
// copies. A backend that computes in its numbers multiplies x rounded to them (bf16 on processors that have such
// products, with oneDNN); else Ŵ becomes a dense tensor of the step where it is needed. Nothing is trained and
// nothing is kept. Throws input_error where W has numbers that are not finite. Dettmers et al. 2023,
// arXiv:2305.14314.
//
// With Inputs y = x̂ Ŵᵀ + b, x̂ = s q the rows of x in 8 bits (core/int8_rows.hpp), each with s = max |x| / 127:
// y[j] is off by s / 2 · Σ |Ŵ[j]| at most, and a row that is not finite gives NaNs. Sums are of whole numbers
// where the backend has such products (oneDNN on processors with AVX-512 VNNI); elsewhere x̂ and Ŵ are tensors,
// with the same results but for the rounding of those. For gradients x̂ counts as x: dx = dy Ŵ, of tensors. A
// decoration around the layer sees x itself; there is no dense_weight(), which would know nothing of inputs.
// Dettmers et al. 2022, arXiv:2208.07339, without its columns in 16 bits.
template <frozen_affine L, number_format Format, bool Inputs>
struct quantized_linear {
  using backend_type = typename L::backend_type;
  using B = backend_type;
  using tensor = typename B::tensor;
  using gradient = nothing;
  static constexpr bool affine = true;

  L base;
  typename B::template quantized<Format> weight_codes;

  quantized_linear() = default;
  explicit quantized_linear(L layer, const quantize& = {}) : base(std::move(layer)) {}

  index_t in() const { return base.in(); }
  index_t out() const { return base.out(); }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::base, z.base...);
  }
  template <backend To>
    requires movable_to<L, To>
  using on_backend = quantized_linear<on_backend_t<L, To>, Format, Inputs>;
  template <class F, class... Z>
  static void settings(F&& f, Z&&... z) {
    f(z.weight_codes...);
  }

  template <demand D>
  struct cache {};

  template <demand D>
  tensor forward(const tensor& x, cache<D>&, const context<B>& k) const {
    expect_size("quantize: columns of the input", in(), x.cols);
    tensor y = k.make(x.rows, out());
    if constexpr (rounds_inputs && requires { B::linear_of(y, x, *weight_codes, base.bias); })
      if (B::linear_of(y, x, filled(), base.bias))
        return y;
    if constexpr (Inputs) {
      const tensor rounded = k.make(x.rows, in());
      B::round_rows(rounded, x);
      B::linear(y, rounded, dense(k), base.bias);
    } else {
      B::linear(y, x, dense(k), base.bias);
    }
    return y;
  }

  template <demand D, class G>
  auto backward([[maybe_unused]] tensor dy, cache<D>&, G*,
                [[maybe_unused]] const context<B>& k) const {
    if constexpr (D.input) {
      tensor dx = k.make(dy.rows, in());
      if constexpr (requires { B::product_nn_of(dx, dy, *weight_codes); })
        if (B::product_nn_of(dx, dy, filled()))
          return dx;
      B::product_nn(dx, dy, dense(k), 1, false);
      return dx;
    } else {
      return nothing{};
    }
  }

  void base_filled() {
    using scalar = typename B::scalar;
    std::vector<scalar> copy;  // of what the host cannot read
    if (!base.weight.data) {
      const typename B::const_view elsewhere = base.weight;
      if (!elsewhere.data)
        return;
      copy = B::on_host(elsewhere);
    }
    const scalar* values = copy.empty() ? base.weight.data : copy.data();
    weight_codes = std::make_shared<const quantized_matrix<Format>>(
        quantized<Format>(matrix_view<const scalar>(values, out(), in())));
    base.weight = typename B::frozen_weight(out(), in());
  }

  tensor dense_weight(const context<B>& k) const
    requires(!Inputs)
  {
    return dense(k);
  }
  typename B::const_view dense_bias() const { return base.bias; }

  // Ŵ, b: what a merged layer has, whose inputs are as they are.
  graft::dense_form<B> as_dense() const {
    if (!weight_codes)
      throw error("quantize: expected base_filled() before as_dense()");
    graft::dense_form<B> d{{out(), in()}, {base.bias.rows, base.bias.cols}};
    B::dequantize(d.weight, weight_codes);
    B::copy(d.bias, base.bias);
    return d;
  }

 private:
  static constexpr bool rounds_inputs = Inputs || Format == number_format::bf16;

  tensor dense(const context<B>& k) const {
    filled();
    tensor w = k.make(out(), in());
    B::dequantize(w, weight_codes);
    return w;
  }
  const quantized_matrix<Format>& filled() const {
    if (!weight_codes)
      throw error("quantize: expected base_filled() before the first step");
    return *weight_codes.operator->();
  }
};

template <class L>
quantized_linear(L) -> quantized_linear<L, quantize{}.to>;

}  // namespace graft
