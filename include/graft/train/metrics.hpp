// SPDX-License-Identifier: MIT
// How good a classifier is.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace graft {

// counts[truth][prediction].
struct confusion_matrix {
  std::vector<std::vector<std::int64_t>> counts;

  explicit confusion_matrix(std::size_t classes = 0)
      : counts(classes, std::vector<std::int64_t>(classes, 0)) {}
  void add(std::int32_t truth, std::int32_t prediction) {
    ++counts[static_cast<std::size_t>(truth)][static_cast<std::size_t>(prediction)];
  }
  std::size_t classes() const { return counts.size(); }
  std::int64_t total() const {
    std::int64_t n = 0;
    for (const auto& row : counts)
      for (std::int64_t c : row)
        n += c;
    return n;
  }
};

// The counts among `count` neighbouring classes: those of one task of several.
inline confusion_matrix block(const confusion_matrix& m, std::size_t first, std::size_t count) {
  confusion_matrix part(count);
  for (std::size_t i = 0; i < count; ++i)
    for (std::size_t j = 0; j < count; ++j)
      part.counts[i][j] = m.counts[first + i][first + j];
  return part;
}

// Precision TP / (TP + FP), recall TP / (TP + FN) and their harmonic mean; 0 where undefined.
struct class_scores {
  double precision = 0, recall = 0, f1 = 0;
};

inline class_scores scores_of(const confusion_matrix& m, std::size_t c) {
  const double hit = static_cast<double>(m.counts[c][c]);
  double predicted = 0, actual = 0;
  for (std::size_t i = 0; i < m.classes(); ++i) {
    predicted += static_cast<double>(m.counts[i][c]);
    actual += static_cast<double>(m.counts[c][i]);
  }
  class_scores s;
  s.precision = predicted > 0 ? hit / predicted : 0;
  s.recall = actual > 0 ? hit / actual : 0;
  s.f1 = s.precision + s.recall > 0 ? 2 * s.precision * s.recall / (s.precision + s.recall) : 0;
  return s;
}

// With two classes, precision, recall and F1 are those of the second; with more, the unweighted mean
// over the classes (macro).
struct evaluation {
  double loss = 0;
  double accuracy = 0;
  double precision = 0, recall = 0, f1 = 0;
  confusion_matrix confusion;
};

inline evaluation evaluate_confusion(confusion_matrix m, double loss) {
  evaluation e;
  e.loss = loss;
  std::int64_t hits = 0;
  for (std::size_t c = 0; c < m.classes(); ++c)
    hits += m.counts[c][c];
  const std::int64_t n = m.total();
  e.accuracy = n > 0 ? static_cast<double>(hits) / static_cast<double>(n) : 0;
  const bool binary = m.classes() == 2;
  const std::size_t first = binary ? 1 : 0;
  for (std::size_t c = first; c < m.classes(); ++c) {
    const class_scores s = scores_of(m, c);
    e.precision += s.precision;
    e.recall += s.recall;
    e.f1 += s.f1;
  }
  if (!binary && m.classes() > 0) {
    const double k = static_cast<double>(m.classes());
    e.precision /= k;
    e.recall /= k;
    e.f1 /= k;
  }
  e.confusion = std::move(m);
  return e;
}

}  // namespace graft
