// SPDX-License-Identifier: MIT
// How good a model is.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/plain.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace graft {

// counts[truth][prediction].
struct confusion_matrix {
  std::vector<std::vector<std::int64_t>> counts;

  confusion_matrix() = default;
  explicit confusion_matrix(std::size_t classes)
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
  // How many examples are of class c, and how many are predicted to be.
  std::int64_t actual(std::size_t c) const {
    return std::accumulate(counts[c].begin(), counts[c].end(), std::int64_t{0});
  }
  std::int64_t predicted(std::size_t c) const {
    std::int64_t n = 0;
    for (const auto& row : counts)
      n += row[c];
    return n;
  }
};

// The counts among `count` neighbouring classes: those of one task of several.
GRAFT_PLAIN confusion_matrix block(const confusion_matrix& m, std::size_t first, std::size_t count);

// Precision TP / (TP + FP), recall TP / (TP + FN) and their harmonic mean; 0 where undefined.
struct class_scores {
  double precision = 0, recall = 0, f1 = 0;
};

// The scores where `hits` of what was `predicted` is among what was `actual`ly there.
GRAFT_PLAIN class_scores scores_of(std::int64_t hits, std::int64_t predicted, std::int64_t actual);

inline class_scores scores_of(const confusion_matrix& m, std::size_t c) {
  return scores_of(m.counts[c][c], m.predicted(c), m.actual(c));
}

// The unweighted mean of the scores of the classes from `first` on: 1 leaves out a class 0 that is
// "none of them". A class that nobody has and nobody predicts counts with 0. 0 without classes.
GRAFT_PLAIN class_scores macro_scores(const confusion_matrix& m, std::size_t first = 0);

// The scores of all decisions for a class from `first` on, counted together. Over all classes each
// of the three is the accuracy.
GRAFT_PLAIN class_scores micro_scores(const confusion_matrix& m, std::size_t first = 0);

// Matthews' correlation of truth and prediction for any number of classes, in [-1, 1]:
//   (n h − Σ_c t_c p_c) / √((n² − Σ_c p_c²) (n² − Σ_c t_c²))
// with n examples, h hits, and t_c examples of class c, predicted p_c times. 0 where undefined: all
// of one class, or all predicted to be. Gorodkin 2004, doi:10.1016/j.compbiolchem.2004.09.006.
GRAFT_PLAIN double matthews(const confusion_matrix& m);

// Of a mean cross-entropy per token, in nats.
inline double perplexity(double loss) { return std::exp(loss); }

// What a model is worth on some examples. Of every score more is better; the first is the one that
// counts where nobody says which.
struct evaluation {
  double loss = 0;
  std::vector<std::pair<std::string, double>> scores;
  confusion_matrix confusion;  // of classes; empty where the model names none

  const double* find(std::string_view name) const {
    for (const auto& [known, value] : scores)
      if (known == name)
        return &value;
    return nullptr;
  }
  // Throws input_error, listing those there are, for a name of none.
  double score(std::string_view name) const;
};

// accuracy, precision, recall, f1 and matthews. With two classes, precision, recall and F1 are those
// of the second; with more, the unweighted mean over the classes (macro).
GRAFT_PLAIN evaluation evaluate_confusion(confusion_matrix m, double loss);

}  // namespace graft

#if GRAFT_BODIES

namespace graft {

GRAFT_PLAIN confusion_matrix block(const confusion_matrix& m, std::size_t first, std::size_t count) {
  confusion_matrix part(count);
  for (std::size_t i = 0; i < count; ++i)
    for (std::size_t j = 0; j < count; ++j)
      part.counts[i][j] = m.counts[first + i][first + j];
  return part;
}

GRAFT_PLAIN class_scores scores_of(std::int64_t hits, std::int64_t predicted, std::int64_t actual) {
  const auto share = [&](std::int64_t of) {
    return of > 0 ? static_cast<double>(hits) / static_cast<double>(of) : 0;
  };
  class_scores s{share(predicted), share(actual)};
  if (hits > 0)
    s.f1 = 2 * s.precision * s.recall / (s.precision + s.recall);
  return s;
}

GRAFT_PLAIN class_scores macro_scores(const confusion_matrix& m, std::size_t first) {
  class_scores mean;
  for (std::size_t c = first; c < m.classes(); ++c) {
    const class_scores s = scores_of(m, c);
    mean.precision += s.precision;
    mean.recall += s.recall;
    mean.f1 += s.f1;
  }
  if (first < m.classes()) {
    const double n = static_cast<double>(m.classes() - first);
    mean.precision /= n;
    mean.recall /= n;
    mean.f1 /= n;
  }
  return mean;
}

GRAFT_PLAIN class_scores micro_scores(const confusion_matrix& m, std::size_t first) {
  std::int64_t hits = 0, predicted = 0, actual = 0;
  for (std::size_t c = first; c < m.classes(); ++c) {
    hits += m.counts[c][c];
    predicted += m.predicted(c);
    actual += m.actual(c);
  }
  return scores_of(hits, predicted, actual);
}

GRAFT_PLAIN double matthews(const confusion_matrix& m) {
  const double n = static_cast<double>(m.total());
  double hits = 0, both = 0, predictions = 0, truths = 0;
  for (std::size_t c = 0; c < m.classes(); ++c) {
    const double p = static_cast<double>(m.predicted(c)), t = static_cast<double>(m.actual(c));
    hits += static_cast<double>(m.counts[c][c]);
    both += t * p;
    predictions += p * p;
    truths += t * t;
  }
  const double spread = (n * n - predictions) * (n * n - truths);
  return spread > 0 ? (n * hits - both) / std::sqrt(spread) : 0;
}

GRAFT_PLAIN evaluation evaluate_confusion(confusion_matrix m, double loss) {
  std::int64_t hits = 0;
  for (std::size_t c = 0; c < m.classes(); ++c)
    hits += m.counts[c][c];
  const std::int64_t n = m.total();
  const class_scores s = macro_scores(m, m.classes() == 2 ? 1 : 0);
  return {loss,
          {{"accuracy", n > 0 ? static_cast<double>(hits) / static_cast<double>(n) : 0},
           {"precision", s.precision},
           {"recall", s.recall},
           {"f1", s.f1},
           {"matthews", matthews(m)}},
          std::move(m)};
}

GRAFT_PLAIN double evaluation::score(std::string_view name) const {
  if (const double* value = find(name))
    return *value;
  std::string all;
  for (const auto& [known, value] : scores)
    all += known + ", ";
  throw input_error("score: expected one of " + all + "found " + std::string(name));
}

}  // namespace graft

#endif
