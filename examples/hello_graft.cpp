// SPDX-License-Identifier: MIT
// A layer of one's own, frozen, with a low-rank update grafted onto it.
#include <graft/backend/cpu.hpp>
#include <graft/train/loss.hpp>
#include <graft/train/optimizer.hpp>
#include <graft/tuning/frozen.hpp>
#include <graft/tuning/lora.hpp>
#include <cstdio>
using namespace graft;
using B = cpu<float>;

struct my_layer {  // y = x Wᵀ
  using backend_type = B;
  static constexpr bool affine = true;
  B::parameter weight;
  index_t in() const { return weight.cols; }
  index_t out() const { return weight.rows; }
  struct gradient { B::parameter weight; };
  static void parts(auto&& f, auto&&... z) { f(at::weight, z.weight...); }
  template <demand D> struct cache {};
  template <demand D> requires(D.trains()) struct cache<D> { B::tensor x; };

  template <demand D> B::tensor forward(const B::tensor& x, cache<D>& c, const context<B>& k) const {
    B::tensor y = k.make(x.rows, out());
    if constexpr (D.trains()) c.x = x;
    return B::product_nt(y, x, weight, 1, false), y;
  }
  template <demand D> B::tensor backward(B::tensor dy, cache<D>& c, auto* g, const context<B>& k) const {
    if constexpr (D.trains()) B::product_tn(g->weight, dy, c.x, 1, true);
    B::tensor dx = k.make(dy.rows, in());
    return B::product_nn(dx, dy, weight, 1, false), dx;
  }
};
static_assert(std::is_same_v<gradient_t<frozen<my_layer>>, nothing>);  // freezing is a type

int main() {
  random_stream random(1);
  auto layer = lora_layer(frozen(my_layer{B::parameter(16, 32)}), lora{.rank = 2}, random);
  auto trained = gather(layer);  // one buffer: A and B of the update, nothing else
  auto g = make_gradient(layer, trained);
  optimizer<B> method(adamw{.rate = 0.02}, trained);

  B::workspace memory;
  const layout rows = separate_rows(64);
  const context<B> k{memory, rows};
  B::tensor x = k.make(64, 32);
  for (index_t i = 0; i < x.size(); ++i) x.data[i] = float(random.normal());
  std::vector<double> wanted;  // every output is to be the first input: an update of rank 1
  for (index_t i = 0; i < 64 * 16; ++i) wanted.push_back(x(i / 16, 0));

  decltype(layer)::cache<demand{}> c;
  for (int step = 0; step <= 200; ++step) {
    g.clear();
    auto r = mean_squared_error{}.operator()<B>(layer.forward<demand{}>(x, c, k), wanted, k);
    if (step % 200 == 0) std::printf("step %3d: %td of 608 trained, loss %.4f\n", step, trained.count(), r.loss.value());
    layer.backward<demand{}>(std::move(r.gradient), c, &g.gradient, k);
    method.step(trained, g.values);
  }
}
