// SPDX-License-Identifier: MIT
// A method of one's own: scale and shift what a layer gives,  y = γ ∘ L(x) + β  (SSF, Lian et al. 2022,
// arXiv:2210.08823), as a decoration that recipes, files and optimizers know like those of the library.
#include <graft/backend/cpu.hpp>
#include <graft/layer/initial.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/train/loss.hpp>
#include <graft/train/optimizer.hpp>
#include <graft/tuning/describe.hpp>
#include <graft/tuning/lora.hpp>
#include <cstdio>
using namespace graft;

template <sized_layer L>
struct scaled_and_shifted;

// What a recipe holds: options (none here), a name, whether a row depends on no other, so that a head that
// reads one row of each sequence can have the last layer make no more, and which layer it makes of which.
struct ssf {
  static constexpr std::string_view name = "ssf";
  constexpr bool row_by_row() const { return true; }
  template <sized_layer L, auto Spec>
  using apply = scaled_and_shifted<L>;
};

// The parts' steps in the path of a parameter: "layer.3.feed_forward.output.ssf.gamma".
struct gamma_t {
  static constexpr std::string_view name = "ssf.gamma";
  static constexpr bool decays = false;
};
struct beta_t {
  static constexpr std::string_view name = "ssf.beta";
  static constexpr bool decays = false;
};

// The decorated layer. Keeps L(x) when asked for the gradient of γ. Starts as L itself.
template <sized_layer L>
struct scaled_and_shifted {
  using backend_type = typename L::backend_type;
  using B = backend_type;
  using tensor = typename B::tensor;
  static constexpr bool affine = dense_layer<L>;  // an affine map stays one, and takes a LoRA

  L base;
  typename B::parameter gamma, beta;

  scaled_and_shifted() = default;
  scaled_and_shifted(L layer, const ssf&)
      : base(std::move(layer)), gamma(1, base.out()), beta(1, base.out()) {}

  index_t in() const { return base.in(); }
  index_t out() const { return base.out(); }

  // The one listing, from which names, counting, saving, loading and the optimizer's walk come.
  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::base, z.base...);
    f(gamma_t{}, z.gamma...);
    f(beta_t{}, z.beta...);
  }
  struct gradient {
    gradient_t<L> base;
    typename B::parameter gamma, beta;
  };

  // What forward keeps follows from what the caller wants back.
  template <demand D>
  struct cache {
    cache_t<L, D> base;
  };
  template <demand D>
    requires(D.params == params::all)
  struct cache<D> {
    cache_t<L, D> base;
    tensor h;
  };

  template <demand D>
  tensor forward(const tensor& x, cache<D>& c, const context<B>& k) const {
    tensor h = base.template forward<D>(x, c.base, k);
    tensor y = k.make(h.rows, h.cols);
    B::multiply_row(y, h, gamma, false);
    B::add_row(y, beta);
    if constexpr (D.params == params::all)
      c.h = std::move(h);
    return y;
  }
  template <demand D, class G>
  auto backward(tensor dy, cache<D>& c, G* g, const context<B>& k) const {
    if constexpr (D.params == params::all) {
      B::dot_columns(g->gamma, dy, c.h);
      B::sum_rows(g->beta, dy);
    }
    if constexpr (reached<L>(D)) {
      dy = k.own(std::move(dy));
      B::multiply_row(dy, dy, gamma, false);
      return base.template backward<D>(std::move(dy), c.base, part<D>(g, &gradient::base), k);
    } else {
      return nothing{};
    }
  }

  // Nothing here may be decided at run time; a file says which method stood where.
  static constexpr std::string_view method = ssf::name;
  decoration_numbers numbers() const { return {}; }
  void renumber(const decoration_numbers&) {}
  void initialize(random_stream&) {
    set_values<B>(gamma, [] { return 1; });
    set_values<B>(beta, [] { return 0; });
  }
};

struct sentiment {
  static constexpr recipe rules{on(at::linear, ssf{}), on(at::query | at::value, lora{.rank = 2}),
                                on(at::head, train{})};
};

int main() {
  using B = cpu<float>;
  bert_config config;
  config.width = 32, config.layers = 2, config.heads = 4, config.inner = 64;
  config.vocabulary = 20, config.positions = 16;
  bert_classifier<B, sentiment> model(config, {"even", "odd"}, 1);
  std::fputs(describe(model).c_str(), stdout);

  token_batch batch;  // the first token says whether it is even
  std::vector<std::int32_t> labels;
  for (std::int32_t i = 0; i < 16; ++i) {
    const std::int32_t ids[] = {i, 3, 7};
    batch.append(ids, {}, static_cast<std::uint32_t>(i), 0);
    labels.push_back(i % 2);
  }
  auto g = make_gradient(model.network, model.parameters);
  optimizer<B> method(adamw{.rate = 0.02}, model.parameters);
  B::workspace memory;
  decltype(model)::training_cache cache;
  for (int step = 0; step <= 100; ++step) {
    const context<B> k{memory, batch.rows};
    g.clear();
    auto r = cross_entropy{}.operator()<B>(
        model.network.forward<training_demand>(batch, cache, k), labels, k);
    if (step % 100 == 0)
      std::printf("step %3d: loss %.4f\n", step, r.loss.value());
    model.network.backward<training_demand>(std::move(r.gradient), cache, &g.gradient, k);
    method.step(model.parameters, g.values);
  }
}
