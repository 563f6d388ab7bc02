// SPDX-License-Identifier: MIT
// A network of one's own whose layers recipes can reach: a controller that was trained for one robot is
// tuned for another. Sites are tag types; `leaf` says who stands at one under a tuning.
#include <graft/backend/cpu.hpp>
#include <graft/layer/activation.hpp>
#include <graft/layer/linear.hpp>
#include <graft/train/loss.hpp>
#include <graft/train/optimizer.hpp>
#include <graft/tuning/lora.hpp>
#include <graft/tuning/occupant.hpp>
#include <cstdio>
using namespace graft;

namespace place {  // the sites, named as their parameters' paths shall begin
struct sense_t : at::linear_t {
  static constexpr std::string_view label = "sense";
  static constexpr std::string_view name = "sense";
};
struct act_t : at::linear_t {
  static constexpr std::string_view label = "act";
  static constexpr std::string_view name = "act";
};
inline constexpr sense_t sense{};
inline constexpr act_t act{};
}  // namespace place

// y = W₂ tanh(W₁ x + b₁) + b₂. What `act` is asked for follows from whether anything before it is trained.
template <backend Backend, tuning T>
struct controller {
  static_assert(every_rule_finds_a_site<T, selection<place::sense_t, place::act_t>>);
  using backend_type = Backend;
  using B = backend_type;
  using tensor = typename B::tensor;
  using sense_type = leaf<scope<T>, place::sense_t, linear<B>>;
  using act_type = leaf<scope<T>, place::act_t, linear<B>>;

  sense_type sense;
  activation_layer<B> middle{activation::tanh};
  act_type act;

  controller(index_t sensors, index_t width, index_t motors)
      : sense(make_leaf<scope<T>, place::sense_t>(linear<B>(sensors, width))),
        act(make_leaf<scope<T>, place::act_t>(linear<B>(width, motors))) {}

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(place::sense, z.sense...);
    f(place::act, z.act...);
  }
  struct gradient {
    gradient_t<sense_type> sense;
    gradient_t<act_type> act;
  };

  template <demand D>
  static constexpr demand behind = D.after(reached<sense_type>(D));
  template <demand D>
  struct cache {
    cache_t<sense_type, D> sense;
    cache_t<activation_layer<B>, behind<D>> middle;
    cache_t<act_type, behind<D>> act;
  };

  template <demand D>
  tensor forward(const tensor& x, cache<D>& c, const context<B>& k) const {
    const tensor z = sense.template forward<D>(x, c.sense, k);
    const tensor h = middle.template forward<behind<D>>(z, c.middle, k);
    return act.template forward<behind<D>>(h, c.act, k);
  }
  template <demand D>
  nothing backward(tensor dy, cache<D>& c, gradient* g, const context<B>& k) const {
    auto dh = act.template backward<behind<D>>(std::move(dy), c.act, part<D>(g, &gradient::act), k);
    if constexpr (reached<sense_type>(D)) {
      tensor dz = middle.template backward<behind<D>>(std::move(dh), c.middle,
                                                      static_cast<nothing*>(nullptr), k);
      sense.template backward<D>(std::move(dz), c.sense, part<D>(g, &gradient::sense), k);
    }
    return {};
  }
};

struct whole {
  static constexpr recipe rules{on(at::everything, train{})};
};
struct for_this_robot {
  static constexpr recipe rules{on(place::sense, lora{.rank = 1}), on(place::act, train{biases})};
};

// Trains towards the motor commands that `wanted` gives; prints what is trained and the last loss.
template <class Network, class Wanted>
void learn(const char* what, Network& network, const Wanted& wanted) {
  using B = typename Network::backend_type;
  constexpr demand asked{false, params::all};
  auto trained = gather(network);
  auto g = make_gradient(network, trained);
  optimizer<B> method(adamw{.rate = 0.02}, trained);
  typename B::workspace memory;
  const layout rows = separate_rows(128);
  const context<B> k{memory, rows};
  typename B::tensor x = k.make(128, network.sense.in());
  random_stream random(2);
  std::vector<double> targets;
  for (index_t i = 0; i < x.rows; ++i) {
    for (index_t j = 0; j < x.cols; ++j)
      x(i, j) = static_cast<float>(random.normal());
    targets.push_back(wanted(x.row(i)));
  }
  cache_t<Network, asked> cache;
  double loss = 0;
  for (int step = 0; step < 300; ++step) {
    g.clear();
    auto r = mean_squared_error{}.template operator()<B>(
        network.template forward<asked>(x, cache, k), targets, k);
    loss = r.loss;
    network.template backward<asked>(std::move(r.gradient), cache, &g.gradient, k);
    method.step(trained, g.values);
  }
  std::printf("%-14s %3td trained, loss %.4f\n", what, trained.count(), loss);
}

int main() {
  using B = cpu<float>;
  controller<B, whole> first(6, 16, 1);
  prepare(first, 1);
  learn("first robot:", first, [](const float* x) { return x[0] - 0.5 * x[1]; });

  controller<B, for_this_robot> second(6, 16, 1);  // the same base, frozen
  prepare(second, 1);
  second.sense.base.weight = first.sense.weight, second.sense.base.bias = first.sense.bias;
  second.act.weight = first.act.weight, second.act.bias = first.act.bias;
  learn("second robot:", second, [](const float* x) { return x[0] - 0.5 * x[2] + 0.3; });
}
