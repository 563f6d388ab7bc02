// SPDX-License-Identifier: MIT
// Lengths of sequences as a data set has them. common.drawn_lengths draws the same.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace graft_bench {

// Lines "tokens count".
inline std::vector<std::pair<int, std::int64_t>> read_lengths(const std::string& path) {
  std::ifstream file(path);
  std::vector<std::pair<int, std::int64_t>> counts;
  int tokens = 0;
  std::int64_t count = 0;
  while (file >> tokens >> count)
    counts.emplace_back(tokens, count);
  if (!file.eof() || counts.empty())
    throw std::runtime_error(path + ": expected lines of two numbers, tokens and count");
  return counts;
}

// The i-th is the quantile frac(i φ), φ the golden ratio: any stretch of them is spread as all are.
inline std::vector<int> drawn_lengths(const std::vector<std::pair<int, std::int64_t>>& counts,
                                      std::size_t n) {
  double all = 0;
  for (const auto& [tokens, count] : counts)
    all += static_cast<double>(count);
  std::vector<int> lengths;
  for (std::size_t i = 0; i < n; ++i) {
    const double turns = static_cast<double>(i) * 0.6180339887498949;
    double left = (turns - std::floor(turns)) * all;
    std::size_t at = 0;
    while (at + 1 < counts.size() && left >= static_cast<double>(counts[at].second))
      left -= static_cast<double>(counts[at++].second);
    lengths.push_back(counts[at].first);
  }
  return lengths;
}

}  // namespace graft_bench
