// SPDX-License-Identifier: MIT
// What the small networks of prompts and prefixes make, for files that hold only the result.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/plain.hpp>
#include <graft/io/adapter_data.hpp>
#include <graft/io/stored_matrix.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <set>
#include <string>
#include <vector>

namespace graft::detail {

// Values computed in double, in the type that `like` has.
GRAFT_PLAIN stored_matrix in_type_of(const stored_matrix& like, index_t rows,
                                     const std::vector<double>& values);

// Makes rows of an adapter's tensors and remembers which it took.
class row_maker {
 public:
  explicit row_maker(const adapter_data& a) : a_(a) {}

  const std::set<std::string>& taken() const { return taken_; }

  // P, or relu(relu(P Aᵀ + a) Bᵀ + b) Cᵀ + c, of the prompt at `path` (tuning/prompt_rows.hpp).
  stored_matrix prompt(const std::string& path) {
    const stored_matrix rows = tensor(path + "rows");
    if (!a_.tensors.contains(path + "first.weight"))
      return rows;
    const auto relu = [](double x) { return std::max(x, 0.0); };
    auto x = map(values_of<double>(rows), rows.rows, path + "first", relu);
    x = map(x, rows.rows, path + "second", relu);
    return in_type_of(rows, rows.rows, map(x, rows.rows, path + "third", same));
  }

  // [tokens, layers · 2 · width]: every layer's keys and values side by side, trained themselves or
  // tanh(E Aᵀ + a) Bᵀ + b (tuning/prefix_rows.hpp).
  stored_matrix prefix(index_t layers) {
    stored_matrix like;
    std::vector<double> low;
    const bool encoded = a_.tensors.contains("prefix.embedding");
    if (encoded) {
      like = tensor("prefix.embedding");
      low = map(values_of<double>(like), like.rows, "prefix.down",
                [](double x) { return std::tanh(x); });
    }
    std::vector<stored_matrix> parts;
    for (index_t i = 0; i < layers; ++i) {
      const std::string path = "layer." + std::to_string(i) + ".attention.memory.prefix.";
      if (encoded) {
        const auto both = map(low, like.rows, path + "up", same);
        const index_t width = static_cast<index_t>(both.size()) / (2 * like.rows);
        const stored_matrix whole = stored(like.rows, 2 * width, both);
        parts.push_back(columns_of(whole, 0, width));
        parts.push_back(columns_of(whole, width, width));
      } else {
        like = tensor(path + "keys");
        parts.push_back(like);
        parts.push_back(tensor(path + "values"));
      }
    }
    std::vector<double> all;
    std::vector<std::vector<double>> values;
    for (const stored_matrix& part : parts)
      values.push_back(values_of<double>(part));
    for (index_t row = 0; row < like.rows; ++row)
      for (std::size_t p = 0; p < parts.size(); ++p) {
        const auto from = values[p].begin() + row * parts[p].cols;
        all.insert(all.end(), from, from + parts[p].cols);
      }
    return in_type_of(like, like.rows, all);
  }

 private:
  static double same(double x) { return x; }

  const stored_matrix& tensor(const std::string& path) {
    const auto found = a_.tensors.find(path);
    if (found == a_.tensors.end())
      throw error(a_.source + ": expected " + path + ", found none");
    taken_.insert(path);
    return found->second;
  }

  // f(x Wᵀ + b) of the map at `path`; x [rows, in].
  std::vector<double> map(const std::vector<double>& x, index_t rows, const std::string& path,
                          double (*f)(double)) {
    const stored_matrix& weight = tensor(path + ".weight");
    const auto w = values_of<double>(weight), b = values_of<double>(tensor(path + ".bias"));
    const index_t in = weight.cols, out = weight.rows;
    expect_size((path + ": inputs").c_str(), in * rows, static_cast<index_t>(x.size()));
    expect_size((path + ": biases").c_str(), out, static_cast<index_t>(b.size()));
    std::vector<double> y;
    for (index_t i = 0; i < rows; ++i)
      for (index_t o = 0; o < out; ++o) {
        double sum = b[static_cast<std::size_t>(o)];
        for (index_t j = 0; j < in; ++j)
          sum += x[static_cast<std::size_t>(i * in + j)] * w[static_cast<std::size_t>(o * in + j)];
        y.push_back(f(sum));
      }
    return y;
  }

  const adapter_data& a_;
  std::set<std::string> taken_;
};

}  // namespace graft::detail

#if GRAFT_BODIES

namespace graft::detail {

GRAFT_PLAIN stored_matrix in_type_of(const stored_matrix& like, index_t rows,
                                     const std::vector<double>& values) {
  const index_t cols = static_cast<index_t>(values.size()) / rows;
  if (like.type == dtype::f64)
    return stored(rows, cols, values);
  return stored(rows, cols, std::vector<float>(values.begin(), values.end()));
}

}  // namespace graft::detail

#endif
