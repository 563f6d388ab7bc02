// SPDX-License-Identifier: MIT
// Adapters come, go and are replaced while three threads predict: every answer is that of the
// adapter it was asked of. Built with -fsanitize=thread.
#include <graft/backend/cpu.hpp>
#include <graft/io/adapter_bank.hpp>

#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <map>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace graft;
using bank_type = adapter_bank<cpu<float>>;
using handle = bank_type::handle;
using outputs = std::vector<float>;

constexpr int versions = 4;
constexpr int predictions = 400;  // of each thread
constexpr int predictors = 3;

bert_config small_config() {
  bert_config c;
  c.width = 16;
  c.layers = 2;
  c.heads = 2;
  c.inner = 32;
  c.vocabulary = 20;
  c.positions = 16;
  return c;
}

stored_matrix random_matrix(random_stream& random, index_t rows, index_t cols) {
  std::vector<float> values(static_cast<std::size_t>(rows * cols));
  for (float& v : values)
    v = static_cast<float>(0.5 * random.normal());
  return stored(rows, cols, values);
}

// Version v has rank v + 1 and a head of v + 2 labels, of which the first says which version it is.
adapter_data adapter_of(int version, const bert_config& c) {
  random_stream random(static_cast<std::uint64_t>(version) + 1);
  adapter_data data;
  const index_t rank = version + 1, labels = version + 2;
  for (index_t layer = 0; layer < c.layers; ++layer)
    for (const char* map : {"query", "value"}) {
      const std::string path = "layer." + std::to_string(layer) + ".attention." + map;
      data.decorations[path]["lora"].numbers = {{"rank", static_cast<double>(rank)}, {"alpha", 4}};
      data.tensors[path + ".lora.a"] = random_matrix(random, rank, c.width);
      data.tensors[path + ".lora.b"] = random_matrix(random, c.width, rank);
    }
  data.tensors["head.classifier.weight"] = random_matrix(random, labels, c.width);
  data.tensors["head.classifier.bias"] = random_matrix(random, 1, labels);
  data.labels.assign(static_cast<std::size_t>(labels), std::to_string(version));
  return data;
}

bool alike(const outputs& a, const outputs& b) {
  bool same = a.size() == b.size();
  for (std::size_t i = 0; same && i < a.size(); ++i)
    same = std::abs(a[i] - b[i]) < 1e-4f;
  return same;
}

int run() {
  const bert_config c = small_config();
  bank_type bank(bank_type::model_type(c, {"no", "yes"}));
  const example text{.ids = {1, 7, 19, 4, 2}};
  // What every version answers, and the base under "".
  std::map<std::string, outputs> expected;
  std::vector<adapter_data> adapters;
  const auto answer = [&](const handle& h) {
    return bank.predict(std::vector{text}, std::vector{h}).front();
  };
  expected[""] = answer(nullptr);
  for (int v = 0; v < versions; ++v) {
    adapters.push_back(adapter_of(v, c));
    expected[std::to_string(v)] = answer(bank.load("stays", adapters.back()));
  }
  for (int v = 1; v < versions; ++v)
    if (alike(expected[std::to_string(v)], expected[std::to_string(v - 1)]))
      return std::puts("versions answer alike"), 1;

  std::atomic<int> predicting = predictors, wrong = 0;
  const auto predict = [&] {
    for (int i = 0; i < predictions; ++i) {
      handle comes_and_goes;
      try {
        comes_and_goes = bank.find("comes and goes");
      } catch (const input_error&) {
        // It is away just now: the base answers.
      }
      const std::vector<handle> under{bank.find("stays"), comes_and_goes, nullptr, comes_and_goes};
      const auto found = bank.predict(std::vector<example>(under.size(), text), under);
      for (std::size_t j = 0; j < under.size(); ++j)
        if (!alike(found[j], expected.at(under[j] ? under[j]->labels.front() : std::string())))
          ++wrong;
    }
    --predicting;
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < predictors; ++i)
    threads.emplace_back([&] {
      try {
        predict();
      } catch (const std::exception& e) {
        std::puts(e.what());
        ++wrong;
        --predicting;
      }
    });
  for (std::size_t changes = 0; predicting > 0; ++changes) {
    bank.load("stays", adapters[changes % versions]);
    bank.load("comes and goes", adapters[(changes + 1) % versions]);
    bank.unload("comes and goes");
  }
  for (std::thread& t : threads)
    t.join();
  std::printf("%d wrong answers\n", wrong.load());
  return wrong > 0 || bank.names() != std::vector<std::string>{"stays"} ? 1 : 0;
}

}  // namespace

int main() {
  try {
    return run();
  } catch (const std::exception& e) {
    std::puts(e.what());
    return 1;
  }
}
