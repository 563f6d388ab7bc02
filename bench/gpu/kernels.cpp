// SPDX-License-Identifier: MIT
// Times the operations of the GPU backend at the sizes of MiniLM and BERT-base, in numbers of the first type of
// GRAFT_BENCH_NUMBERS, beside what the device can do at best: copying memory, and a product of 8192³. A line of
// JSON per operation:
//   device_us  the device's time of a call, calls queued one behind the other (median of rounds)
//   host_us    the host's time to queue it; more than device_us: alone it is bound by the host
//   gbytes, gflop   that it must move (every operand once) and compute
//   share      the time that the device would need for the slower of the two, over device_us
//   graft-bench-gpu-kernels [--tiny] [NAME]    operations whose names contain NAME
#include "gpu/compiled.hpp"
#include "gpu/device_time.hpp"
#include "support/shapes.hpp"

#include <algorithm>
#include <cmath>
#include <exception>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace {

using namespace graft_bench;
using graft::index_t;
using json = nlohmann::ordered_json;

template <class T, class...>
struct first_of {
  using type = T;
};
using T = first_of<GRAFT_BENCH_NUMBERS>::type;
using B = graft::cuda<T>;
constexpr double number_bytes = sizeof(T);

struct ceilings {
  double bytes_per_second = 0, flop_per_second = 0;
};

struct bench {
  B::workspace memory;
  std::string wanted;
  ceilings most;
  bool tiny = false;

  // Numbers in ±1.
  B::tensor made(index_t rows, index_t cols, bool exact = false) {
    auto y = exact ? B::make_exact(memory, rows, cols) : B::make(memory, rows, cols);
    fill(y);
    return y;
  }
  static void fill(B::view y) {
    constexpr index_t block = 1 << 16;
    graft::random_stream random(1);
    std::vector<float> values(static_cast<std::size_t>(std::min(block, y.rows) * y.cols));
    for (float& v : values)
      v = static_cast<float>(random.uniform(-1, 1));
    for (index_t from = 0; from < y.rows; from += block) {
      const index_t rows = std::min(block, y.rows - from);
      values.resize(static_cast<std::size_t>(rows * y.cols));
      B::from_host(y.rows_of(from, rows), values);
    }
  }

  // One line; returns the device's seconds.
  template <class F>
  double line(const std::string& name, const std::string& sizes, double bytes, double flop,
              const F& f) {
    if (name.find(wanted) == std::string::npos)
      return 0;
    const queued_time t = time_queued<B>(f);
    const double least =
        std::max(most.bytes_per_second > 0 ? bytes / most.bytes_per_second : 0,
                 most.flop_per_second > 0 ? flop / most.flop_per_second : 0);
    json told{{"operation", name},         {"sizes", sizes},
              {"device_us", 1e6 * t.device}, {"host_us", 1e6 * t.host},
              {"gbytes", 1e-9 * bytes},    {"gflop", 1e-9 * flop}};
    if (bytes > 0)
      told["gb_per_second"] = 1e-9 * bytes / t.device;
    if (flop > 0)
      told["tflop_per_second"] = 1e-12 * flop / t.device;
    told["share"] = least > 0 ? json(least / t.device) : json(nullptr);
    std::cout << told.dump() << std::endl;
    return t.device;
  }
};

// What all shares are of: measured whatever is wanted.
void measure_ceilings(bench& b) {
  const std::string wanted = std::exchange(b.wanted, "");
  const index_t rows = b.tiny ? 64 : 1 << 16, cols = b.tiny ? 64 : 4096;
  {
    const auto x = b.made(rows, cols), y = b.made(rows, cols);
    const double bytes = 2 * number_bytes * static_cast<double>(rows * cols);
    const double seconds = b.line("ceiling: copy", std::to_string(rows) + "x" + std::to_string(cols),
                                  bytes, 0, [&] { copy_memory<B>(y, x); });
    b.most.bytes_per_second = bytes / seconds;
  }
  {
    const index_t n = b.tiny ? 64 : 8192;
    const auto x = b.made(n, n), w = b.made(n, n), y = b.made(n, n);
    const double flop = 2 * std::pow(static_cast<double>(n), 3);
    const double seconds = b.line("ceiling: product", std::to_string(n), 0, flop,
                                  [&] { B::product_nt(y, x, w, 1, false); });
    b.most.flop_per_second = flop / seconds;
  }
  const auto one = b.made(1, 1);
  b.line("launch", "1x1", 0, 0, [&] { B::fill(one, 1); });
  b.wanted = wanted;
}

struct shape {
  std::string model;
  graft::bert_config config;
  index_t sequences, length;

  index_t rows() const { return sequences * length; }
  std::string with(index_t columns) const {
    return model + " " + std::to_string(rows()) + "x" + std::to_string(columns);
  }
};

graft::layout layout_of(const shape& s) {
  graft::layout rows;
  for (index_t i = 0; i < s.sequences; ++i)
    rows.append(s.length, static_cast<std::uint32_t>(i));
  return rows;
}

void measure_rows(bench& b, const shape& s) {
  const index_t n = s.rows(), width = s.config.width, inner = s.config.inner;
  const double narrow = number_bytes * static_cast<double>(n * width);
  const double wide = number_bytes * static_cast<double>(n * inner);
  const graft::layout rows = layout_of(s);
  {
    const auto x = b.made(n, width), dy = b.made(n, width), y = b.made(n, width);
    const auto stats = b.made(n, 2, true);
    const B::parameter gain(1, width), bias(1, width), dgain(1, width), dbias(1, width);
    bench::fill(gain);
    B::layer_norm(y, stats, x, gain, bias, 1e-12f);
    b.line("layer_norm", s.with(width), 2 * narrow, 0,
           [&] { B::layer_norm(y, stats, x, gain, bias, 1e-12f); });
    b.line("layer_norm_backward", s.with(width), 3 * narrow, 0,
           [&] { B::layer_norm_backward(y, dy, x, stats, gain); });
    b.line("layer_norm_parameters", s.with(width), 2 * narrow, 0,
           [&] { B::layer_norm_parameters(dgain, dbias, dy, x, stats); });
    const auto sum = b.made(n, width);
    b.line("add_layer_norm", s.with(width), 4 * narrow, 0,
           [&] { B::add_layer_norm(y, sum, stats, x, dy, gain, bias, 1e-12f); });
    b.line("add", s.with(width), 3 * narrow, 0, [&] { B::add(y, x); });
    b.line("add_row", s.with(width), 2 * narrow, 0, [&] { B::add_row(y, bias); });
    b.line("sum_rows", s.with(width), narrow, 0, [&] { B::sum_rows(dbias, x); });
    b.line("dropout", s.with(width), 2 * narrow, 0,
           [&] { B::dropout(y, x, 0.1f, {{1, 2}, 3}, rows.names); });
  }
  const auto x = b.made(n, inner), dy = b.made(n, inner), y = b.made(n, inner);
  b.line("activate gelu", s.with(inner), 2 * wide, 0,
         [&] { B::activate(y, x, graft::activation::gelu); });
  b.line("activate_backward gelu", s.with(inner), 3 * wide, 0,
         [&] { B::activate_backward(y, dy, x, graft::activation::gelu); });
}

void measure_attention(bench& b, const shape& s) {
  const index_t n = s.rows(), width = s.config.width, heads = s.config.heads;
  const auto q = b.made(n, width), k = b.made(n, width), v = b.made(n, width), dy = b.made(n, width),
             y = b.made(n, width), dq = b.made(n, width), dk = b.made(n, width),
             dv = b.made(n, width);
  const auto logs = b.made(n, heads, true);
  const graft::layout rows = layout_of(s);
  const double matrix = number_bytes * static_cast<double>(n * width);
  const double product = 2.0 * static_cast<double>(n * s.length * width);
  for (const float dropout : {0.0f, 0.1f}) {
    const graft::attention_call<float> call{
        .queries = &rows,
        .keys = &rows,
        .heads = heads,
        .scale = 1 / std::sqrt(static_cast<float>(width / heads)),
        .dropout = dropout,
        .key = {}};
    const std::string sizes = s.model + " " + std::to_string(s.sequences) + "x" +
                              std::to_string(s.length) + (dropout > 0 ? ", dropout" : "");
    B::attention(y, logs, q, k, v, call, b.memory);
    b.line("attention", sizes, 4 * matrix, 2 * product,
           [&] { B::attention(y, logs, q, k, v, call, b.memory); });
    // The four products that gradients need, and the scores anew.
    b.line("attention_backward", sizes, 8 * matrix, 5 * product, [&] {
      B::attention_backward(dq, dk, dv, dy, q, k, v, logs, call, b.memory);
    });
  }
}

void measure_products(bench& b, const shape& s) {
  const index_t n = s.rows(), width = s.config.width, inner = s.config.inner, rank = 8;
  const auto one = [&](const std::string& name, index_t in, index_t out) {
    const auto x = b.made(n, in), y = b.made(n, out), w = b.made(out, in);
    const B::parameter bias(1, out);
    const double bytes = number_bytes * static_cast<double>(n * (in + out) + in * out);
    const double flop = 2.0 * static_cast<double>(n * in * out);
    const std::string sizes =
        s.model + " " + std::to_string(n) + "x" + std::to_string(in) + "x" + std::to_string(out);
    b.line("linear " + name, sizes, bytes, flop, [&] { B::linear(y, x, w, bias); });
    b.line("product_nn (dX) " + name, sizes, bytes, flop,
           [&] { B::product_nn(x, y, w, 1, false); });
    const auto z = b.made(n, out);
    b.line("linear_activated gelu " + name, sizes,
           bytes + number_bytes * static_cast<double>(n * out), flop,
           [&] { B::linear_activated(y, z, x, w, bias, graft::activation::gelu); });
    const B::parameter dw(out, in);
    b.line("product_tn (dW) " + name, sizes, bytes, flop,
           [&] { B::product_tn(dw, y, x, 1, true); });
  };
  one("query", width, width);
  one("feed-forward in", width, inner);
  one("feed-forward out", inner, width);

  // LoRA on one place: h = x Aᵀ, y += s h Bᵀ; back dh = dy B, dB += dyᵀ h, dA += dhᵀ x, dx += dh A.
  const auto x = b.made(n, width), y = b.made(n, width), h = b.made(n, rank);
  const B::parameter a(rank, width), w(width, rank), da(rank, width), dw(width, rank);
  bench::fill(a);
  bench::fill(w);
  const double bytes = number_bytes * static_cast<double>(n * (width + rank));
  const double flop = 2.0 * static_cast<double>(n * width * rank);
  b.line("lora h = x A'", s.with(width), bytes, flop, [&] { B::product_nt(h, x, a, 1, false); });
  b.line("lora y += h B'", s.with(width), bytes + number_bytes * static_cast<double>(n * width),
         flop, [&] { B::product_nt(y, h, w, 1, true); });
  b.line("lora dh = dy B", s.with(width), bytes, flop, [&] { B::product_nn(h, y, w, 1, false); });
  b.line("lora dB += dy' h", s.with(width), bytes, flop, [&] { B::product_tn(dw, y, h, 1, true); });
  b.line("lora dA += dh' x", s.with(width), bytes, flop, [&] { B::product_tn(da, h, x, 1, true); });
  b.line("lora dx += dh A", s.with(width), bytes + number_bytes * static_cast<double>(n * width),
         flop, [&] { B::product_nn(y, h, a, 1, true); });
}

void measure_rest(bench& b, const shape& s) {
  const auto& c = s.config;
  const index_t n = s.rows();
  {
    const auto table = b.made(c.vocabulary, c.width), y = b.made(n, c.width);
    std::vector<std::int32_t> ids(static_cast<std::size_t>(n));
    graft::random_stream random(1);
    for (auto& id : ids)
      id = static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(c.vocabulary)));
    b.line("gather", s.with(c.width), 2 * number_bytes * static_cast<double>(n * c.width), 0,
           [&] { B::gather(y, table, ids, false); });
    const B::parameter dtable(c.vocabulary, c.width);
    b.line("scatter_add", s.with(c.width), (number_bytes + 8) * static_cast<double>(n * c.width), 0,
           [&] { B::scatter_add(dtable, y, ids); });
  }
  const auto y = b.made(s.sequences, 2), dy = b.made(s.sequences, 2);
  std::vector<std::int32_t> labels(static_cast<std::size_t>(s.sequences), 1);
  b.line("cross_entropy", s.model + " " + std::to_string(s.sequences) + "x2",
         2 * number_bytes * static_cast<double>(2 * s.sequences), 0, [&] {
           B::cross_entropy(dy, y, {.labels = labels, .weights = {}, .smoothing = 0});
         });
  const index_t lora = 4 * 8 * c.width * c.layers, linear = 12 * c.width * c.width * c.layers;
  for (const auto& [name, count] : {std::pair{"LoRA", lora}, std::pair{"all linear", linear}}) {
    const B::parameter w(1, count), m(1, count), v(1, count), g(1, count);
    const std::string sizes = s.model + " " + name + " " + std::to_string(count);
    b.line("squared_norm", sizes, 4.0 * static_cast<double>(count), 0,
           [&] { B::squared_norm(g); });
    b.line("adam_update", sizes, 28.0 * static_cast<double>(count), 0,
           [&] { B::adam_update(w, m, v, g, adam_step); });
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    bench b;
    for (int i = 1; i < argc; ++i)
      if (std::string_view(argv[i]) == "--tiny")
        b.tiny = true;
      else
        b.wanted = argv[i];
    std::cout << json{{"device", device_name()}, {"precision", precision_name<T>()}}.dump() << "\n";
    measure_ceilings(b);
    std::vector<shape> shapes{{"minilm", minilm(), 32, 128},
                              {"bert_base", bert_base(), 32, 128},
                              {"minilm", minilm(), 64, 512},
                              {"bert_base", bert_base(), 64, 512}};
    if (b.tiny)
      shapes = {{"tiny", tiny(), 2, 8}};
    for (const shape& s : shapes) {
      measure_rows(b, s);
      measure_attention(b, s);
      measure_products(b, s);
      measure_rest(b, s);
    }
  } catch (const std::exception& e) {
    std::cerr << "graft-bench-gpu-kernels: " << e.what() << "\n";
    return 1;
  }
}
