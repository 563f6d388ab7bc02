// SPDX-License-Identifier: MIT
// A warm training step allocates nothing. Counted is operator new, in all its forms: what graft and
// the standard containers allocate with. Not counted are malloc and aligned_alloc: Eigen's packing
// buffers, the threads' own, and the workspace's chunks, whose bytes are watched apart.
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/train/examples.hpp>
#include <graft/train/loss.hpp>
#include <graft/train/optimizer.hpp>
#include <graft/tuning/recompute.hpp>
#include <graft/tuning/strategies.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>
#include <vector>

#include "support/catch.hpp"

namespace {

std::atomic<bool> counting = false;
std::atomic<long> allocations = 0;

void* reserve(std::size_t bytes, std::size_t alignment) noexcept {
  if (counting)
    ++allocations;
  bytes = bytes > 0 ? (bytes + alignment - 1) / alignment * alignment : alignment;
  return std::aligned_alloc(alignment, bytes);
}

void* allocate(std::size_t bytes, std::size_t alignment) {
  if (void* memory = reserve(bytes, alignment))
    return memory;
  throw std::bad_alloc();
}

}  // namespace

void* operator new(std::size_t bytes) { return allocate(bytes, alignof(std::max_align_t)); }
void* operator new[](std::size_t bytes) { return allocate(bytes, alignof(std::max_align_t)); }
void* operator new(std::size_t bytes, std::align_val_t a) {
  return allocate(bytes, static_cast<std::size_t>(a));
}
void* operator new[](std::size_t bytes, std::align_val_t a) {
  return allocate(bytes, static_cast<std::size_t>(a));
}
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  return reserve(bytes, alignof(std::max_align_t));
}
void* operator new[](std::size_t bytes, const std::nothrow_t&) noexcept {
  return reserve(bytes, alignof(std::max_align_t));
}
void* operator new(std::size_t bytes, std::align_val_t a, const std::nothrow_t&) noexcept {
  return reserve(bytes, static_cast<std::size_t>(a));
}
void* operator new[](std::size_t bytes, std::align_val_t a, const std::nothrow_t&) noexcept {
  return reserve(bytes, static_cast<std::size_t>(a));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

namespace graft_test {

namespace {

using namespace graft;
using F = cpu<float>;

struct several_methods {
  static constexpr recipe rules{
      on(at::query | at::value, lora{.rank = 4, .dropout = 0.1f}),
      on(at::feed_forward_join, bottleneck{.width = 8, .dropout = 0.1f}),
      on(at::attention, bottleneck{.width = 8, .place = placement::parallel, .scale = 4}, top(1)),
      on(at::embeddings, train{biases}), on(at::head, train{})};
};
struct longer {
  static constexpr recipe rules{
      on(at::word, prompt{.tokens = 2, .encoder = prompt_encoder::mlp}),
      on(at::memory | at::position,
         prefix{.tokens = 3, .encoder = prompt_encoder::mlp, .gate = prefix_gate::two}),
      on(at::layer, recompute{}, top(2)), on(at::head, train{})};
};

}  // namespace

TEMPLATE_TEST_CASE("a warm training step allocates nothing", "", several_methods, longer,
                   strategies::full) {
  bert_config c;
  c.width = 32;
  c.layers = 3;
  c.heads = 4;
  c.inner = 64;
  c.vocabulary = 50;
  c.positions = 50;
  bert_classifier<F, TestType> model(c, {"a", "b"});
  example_list data(6);
  std::vector<std::uint32_t> chosen;
  std::vector<std::int32_t> labels;
  for (std::uint32_t i = 0; i < 6; ++i) {
    data[i].ids.assign(3 + 7 * i, static_cast<std::int32_t>(i));
    chosen.push_back(i);
    labels.push_back(static_cast<std::int32_t>(i % 2));
  }

  host_workspace memory;
  token_batch batch;
  typename bert_classifier<F, TestType>::training_cache cache;
  auto gradient = make_gradient(model.network, model.parameters);
  optimizer<F> method(adamw{}, model.parameters);
  const cross_entropy loss{.smoothing = 0.1};
  std::vector<std::size_t> reserved;
  reserved.reserve(5);
  allocations = 0;
  for (int step = 1; step <= 5; ++step) {
    counting = step >= 3;
    pack(data, chosen, 0, batch);
    gradient.clear();
    const context<F> k{memory, batch.rows, true, 1, static_cast<std::uint64_t>(step)};
    const auto outputs = model.network.template forward<training_demand>(batch, cache, k);
    auto r = loss.template operator()<F>(outputs, labels, k);
    model.network.template backward<training_demand>(std::move(r.gradient), cache,
                                                     &gradient.gradient, k);
    method.step(model.parameters, gradient.values, 1,
                clip_factor(gradient_norm<F>(gradient.values), 1));
    counting = false;
    reserved.push_back(memory.reserved_bytes());
  }
  CHECK(allocations == 0);
  CHECK(reserved[4] == reserved[1]);
  CHECK(reserved[0] > 0);
}

TEST_CASE("allocations are counted") {
  allocations = 0;
  counting = true;
  std::vector<int> numbers(100);
  const int* volatile used = numbers.data();
  counting = false;
  CHECK(used[99] == 0);
  CHECK(allocations == 1);
}

}  // namespace graft_test
