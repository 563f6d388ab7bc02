// SPDX-License-Identifier: MIT
// What stands on an encoder: pooling, the pooler, and the classification heads.
#pragma once

#include <graft/core/on_backend.hpp>
#include <graft/layer/activation.hpp>
#include <graft/layer/dropout.hpp>
#include <graft/layer/linear.hpp>
#include <graft/model/bert.hpp>

#include <cstdint>
#include <type_traits>
#include <utility>

namespace graft {

// y = f(W x + b), where W may be absent (no rows): then y = x. A pooler or a head's first map.
//
// Keeps what the map keeps, and W x + b when gradients must pass f.
template <class Dense>
struct dense_activation {
  using backend_type = typename Dense::backend_type;
  using B = backend_type;
  using tensor = typename B::tensor;

  Dense dense;
  activation_layer<B> function;

  bool present() const { return dense.out() > 0; }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::base, z.dense...);
  }
  template <backend To>
    requires movable_to<Dense, To>
  using on_backend = dense_activation<on_backend_t<Dense, To>>;
  template <class F, class... Z>
  static void settings(F&& f, Z&&... z) {
    f(z.function.function...);
  }

  struct mirror {
    gradient_t<Dense> dense;
  };
  using gradient = std::conditional_t<trainable<Dense>, mirror, nothing>;

  template <demand D>
  static constexpr demand of_function{reached<Dense>(D), params::none};
  template <demand D>
  struct cache {
    cache_t<Dense, D> dense;
    cache_t<activation_layer<B>, of_function<D>> function;
  };

  template <demand D>
  tensor forward(const tensor& x, cache<D>& c, const context<B>& k) const {
    if (!present())
      return x;
    return function.template forward<of_function<D>>(dense.template forward<D>(x, c.dense, k),
                                                     c.function, k);
  }
  template <demand D, class G>
  auto backward(tensor dy, cache<D>& c, G* g, const context<B>& k) const {
    if constexpr (!reached<Dense>(D)) {
      return nothing{};
    } else {
      using result = std::conditional_t<D.input, tensor, nothing>;
      if (!present()) {
        if constexpr (D.input)
          return result(std::move(dy));
        else
          return result{};
      }
      tensor dz = function.template backward<of_function<D>>(std::move(dy), c.function,
                                                             static_cast<nothing*>(nullptr), k);
      return result(
          dense.template backward<D>(std::move(dz), c.dense, part<D>(g, &mirror::dense), k));
    }
  }
};

// A row per sequence or token -> logits:  y = C drop(f(H drop'(x))), C at at::classifier, H at
// at::head_dense. BERT has no H, and none has one for tokens; RoBERTa's f is tanh and drops before H
// too; DistilBERT's f is relu.
template <backend Backend, class Scope>
struct classification_head {
  using backend_type = Backend;
  using B = backend_type;
  using tensor = typename B::tensor;
  using dense_type = dense_activation<leaf<Scope, at::head_dense_t, linear<B>>>;
  using classifier_type = leaf<Scope, at::classifier_t, linear<B>>;

  dense_type dense;
  classifier_type classifier;
  dropout<B> before, drop;

  classification_head() = default;
  classification_head(const bert_config& c, index_t labels)
      : dense{make_leaf<Scope, at::head_dense_t>(has_dense(c) ? linear<B>(c.width, c.width)
                                                              : linear<B>(0, 0, false)),
              {c.family == bert_family::distilbert ? activation::relu : activation::tanh}},
        classifier(make_leaf<Scope, at::classifier_t>(linear<B>(c.width, labels))) {
    drop.rate = c.head_dropout;
    before.rate = has_dense(c) && like_roberta(c.family) ? c.head_dropout : 0;
  }

  index_t in() const { return classifier.in(); }
  index_t out() const { return classifier.out(); }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::head_dense, z.dense...);
    f(at::classifier, z.classifier...);
  }
  template <backend To>
    requires(movable_to<dense_type, To> && movable_to<classifier_type, To>)
  using on_backend = classification_head<To, Scope>;
  template <class F, class... Z>
  static void settings(F&& f, Z&&... z) {
    f(z.before...);
    f(z.drop...);
  }

  struct mirror {
    gradient_t<dense_type> dense;
    gradient_t<classifier_type> classifier;
  };
  using gradient =
      std::conditional_t<trainable<dense_type> || trainable<classifier_type>, mirror, nothing>;

  template <demand D>
  static constexpr demand of_classifier = D.after(reached<dense_type>(D));
  template <demand D>
  struct cache {
    cache_t<dense_type, D> dense;
    cache_t<classifier_type, of_classifier<D>> classifier;
  };

  template <demand D>
  tensor forward(const tensor& x, cache<D>& c, const context<B>& k) const {
    tensor h = dense.template forward<D>(before.apply(x, k), c.dense, k);
    return classifier.template forward<of_classifier<D>>(drop.apply(std::move(h), k), c.classifier,
                                                         k);
  }
  template <demand D, class G>
  auto backward(tensor dy, cache<D>& c, G* g, const context<B>& k) const {
    auto dh = classifier.template backward<of_classifier<D>>(
        std::move(dy), c.classifier, part<D>(g, &mirror::classifier), k);
    if constexpr (reached<dense_type>(D)) {
      auto dx = dense.template backward<D>(drop.apply(std::move(dh), k), c.dense,
                                           part<D>(g, &mirror::dense), k);
      if constexpr (D.input)
        return before.apply(std::move(dx), k);
      else
        return nothing{};
    } else {
      return nothing{};
    }
  }

  void placed(std::uint32_t place) {
    before.place = place;
    drop.place = place + 1;
  }

 private:
  static bool has_dense(const bert_config& c) {
    return c.family != bert_family::bert && !per_token(c.task);
  }
};

}  // namespace graft
