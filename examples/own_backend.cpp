// SPDX-License-Identifier: MIT
// A backend of one's own. A backend is a struct of storage types and plain functions (core/backend.hpp
// lists them); models take it as their first argument. This one computes as cpu<float> does and counts the
// multiply-adds of every product, and so tells what each way of tuning asks of a training step.
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/train/loss.hpp>
#include <graft/tuning/strategies.hpp>
#include <cstdio>
using namespace graft;

struct counting : cpu<float> {
  static inline double count = 0;

  static void product_nt(view y, const_view x, const_view w, float s, bool add) {
    count += static_cast<double>(y.size() * x.cols);
    cpu<float>::product_nt(y, x, w, s, add);
  }
  static void product_nn(view y, const_view x, const_view w, float s, bool add) {
    count += static_cast<double>(y.size() * x.cols);
    cpu<float>::product_nn(y, x, w, s, add);
  }
  static void product_tn(view y, const_view x, const_view w, float s, bool add) {
    count += static_cast<double>(y.size() * x.rows);
    cpu<float>::product_tn(y, x, w, s, add);
  }
  static void linear(view y, const_view x, const_view w, const_view b) {
    count += static_cast<double>(y.size() * x.cols);
    cpu<float>::linear(y, x, w, b);
  }
  static void linear_activated(view y, view z, const_view x, const_view w, const_view b, activation f) {
    linear(z, x, w, b);
    activate(y, z, f);
  }
};
static_assert(backend<counting>);

template <class Tuning>
double multiply_adds(const bert_config& config, const token_batch& batch) {
  bert_classifier<counting, Tuning> model(config, {"no", "yes"});
  counting::workspace memory;  // before what holds its tensors
  typename decltype(model)::training_cache cache;
  auto g = make_gradient(model.network, model.parameters);
  const context<counting> k{memory, batch.rows};
  counting::count = 0;
  auto r = cross_entropy{}.template operator()<counting>(
      model.network.template forward<training_demand>(batch, cache, k), std::vector<std::int32_t>(4, 1),
      k);
  model.network.template backward<training_demand>(std::move(r.gradient), cache, &g.gradient, k);
  return counting::count;
}

int main() {
  bert_config config;
  config.width = 64, config.layers = 4, config.heads = 4, config.inner = 256;
  config.vocabulary = 100, config.positions = 32;
  token_batch batch;
  for (std::uint32_t s = 0; s < 4; ++s)
    batch.append(std::vector<std::int32_t>(32, 5), {}, s, 0);
  const double forward = multiply_adds<untuned>(config, batch);
  const auto line = [&](const char* name, double n) {
    std::printf("%-6s %.2f forwards\n", name, n / forward);
  };
  line("head", multiply_adds<strategies::head>(config, batch));
  line("top2", multiply_adds<strategies::top2>(config, batch));
  line("lora", multiply_adds<strategies::lora_query_value>(config, batch));
  line("full", multiply_adds<strategies::full>(config, batch));
}
