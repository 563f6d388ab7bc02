// SPDX-License-Identifier: MIT
// How good a labelling is at finding spans: names in a sentence, chunks, slots.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/plain.hpp>
#include <graft/core/view.hpp>
#include <graft/train/metrics.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace graft {

// The positions first .. last of one sentence, both included.
struct labelled_span {
  std::string type;
  index_t first = 0, last = 0;

  friend bool operator==(const labelled_span&, const labelled_span&) = default;
};

// The spans of one sentence in order, from labels that are positions in `names`: "O" outside spans,
// "B-PER" where one begins and "I-PER" in it; in IOBES also "E-PER" where it ends and "S-PER" for
// one of a single position. Read as conlleval and, by default, seqeval do: an I or E that does not
// follow a B or I of its own type begins a span, too.
//
// A name without such a tag ("PER") is a type, its runs are spans: it is read as "I-PER". (seqeval
// takes the first letter of such a name for its tag: PER is of type ER, and ORG lies outside.)
//
// Throws input_error for a label that has no name.
GRAFT_PLAIN std::vector<labelled_span> spans_of(std::span<const std::int32_t> labels,
                                                const std::vector<std::string>& names);

// Spans by type over any number of sentences. A predicted span is a hit when the sentence has a
// true one of the same type at the same positions.
struct span_counts {
  struct tally {
    std::int64_t hits = 0, predicted = 0, actual = 0;
  };
  std::map<std::string, tally> types;  // those of the truth and of the predictions

  // One more sentence. Positions whose true label is `ignored` are left out of both sides: pieces
  // of a word after its first, for one.
  //
  // Throws shape_error for other lengths, input_error for a label that has no name.
  void add(std::span<const std::int32_t> truth, std::span<const std::int32_t> prediction,
           const std::vector<std::string>& names, std::int32_t ignored = -100);

  // All types together.
  tally total() const {
    tally sum;
    for (const auto& [type, t] : types) {
      sum.hits += t.hits;
      sum.predicted += t.predicted;
      sum.actual += t.actual;
    }
    return sum;
  }
};

// Of one type; 0 for a type that neither side has.
GRAFT_PLAIN class_scores scores_of(const span_counts& counts, const std::string& type);

// Of all spans, counted together: the F1 that papers give.
GRAFT_PLAIN class_scores micro_scores(const span_counts& counts);

// The unweighted mean over the types. 0 without types.
GRAFT_PLAIN class_scores macro_scores(const span_counts& counts);

}  // namespace graft

#if GRAFT_BODIES

namespace graft {

namespace detail {

// A label's name in two parts: its tag, one of B, I, E, S and O, and its type. O has none, a bare
// tag the type "_".
struct span_label {
  char tag = 'O';
  std::string_view type;
};

inline span_label read_span_label(std::string_view name) {
  if (name == "O")
    return {};
  const bool tagged = !name.empty() && std::string_view("BIES").find(name[0]) != name.npos &&
                      (name.size() == 1 || name[1] == '-');
  if (!tagged)
    return {'I', name};
  return {name[0], name.size() > 2 ? name.substr(2) : "_"};
}

}  // namespace detail

GRAFT_PLAIN std::vector<labelled_span> spans_of(std::span<const std::int32_t> labels,
                                                const std::vector<std::string>& names) {
  std::vector<labelled_span> spans;
  detail::span_label before;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const std::int32_t label = labels[i];
    if (label < 0 || static_cast<std::size_t>(label) >= names.size())
      throw input_error("spans_of: label " + std::to_string(i) + ": expected one below " +
                        std::to_string(names.size()) + ", found " + std::to_string(label));
    const auto here = detail::read_span_label(names[static_cast<std::size_t>(label)]);
    const bool open = before.tag == 'B' || before.tag == 'I';
    const bool goes_on = here.tag == 'I' || here.tag == 'E';
    const index_t at = static_cast<index_t>(i);
    if (open && goes_on && here.type == before.type)
      spans.back().last = at;
    else if (here.tag != 'O')
      spans.push_back({std::string(here.type), at, at});
    before = here;
  }
  return spans;
}

GRAFT_PLAIN class_scores scores_of(const span_counts& counts, const std::string& type) {
  const auto found = counts.types.find(type);
  if (found == counts.types.end())
    return {};
  const span_counts::tally& t = found->second;
  return scores_of(t.hits, t.predicted, t.actual);
}

GRAFT_PLAIN class_scores micro_scores(const span_counts& counts) {
  const span_counts::tally t = counts.total();
  return scores_of(t.hits, t.predicted, t.actual);
}

GRAFT_PLAIN class_scores macro_scores(const span_counts& counts) {
  class_scores mean;
  const double n = static_cast<double>(counts.types.size());
  for (const auto& [type, t] : counts.types) {
    const class_scores s = scores_of(t.hits, t.predicted, t.actual);
    mean.precision += s.precision / n;
    mean.recall += s.recall / n;
    mean.f1 += s.f1 / n;
  }
  return mean;
}

GRAFT_PLAIN void span_counts::add(std::span<const std::int32_t> truth,
                                  std::span<const std::int32_t> prediction,
                                  const std::vector<std::string>& names, std::int32_t ignored) {
  expect_size("span_counts: predicted labels", static_cast<index_t>(truth.size()),
              static_cast<index_t>(prediction.size()));
  std::vector<std::int32_t> kept_truth, kept_prediction;
  for (std::size_t i = 0; i < truth.size(); ++i)
    if (truth[i] != ignored) {
      kept_truth.push_back(truth[i]);
      kept_prediction.push_back(prediction[i]);
    }
  const std::vector<labelled_span> actual = spans_of(kept_truth, names);
  const std::vector<labelled_span> predicted = spans_of(kept_prediction, names);
  for (const labelled_span& s : actual)
    ++types[s.type].actual;
  std::size_t next = 0;  // spans of a sentence do not overlap and are in order
  for (const labelled_span& s : predicted) {
    tally& t = types[s.type];
    ++t.predicted;
    while (next < actual.size() && actual[next].first < s.first)
      ++next;
    t.hits += next < actual.size() && actual[next] == s ? 1 : 0;
  }
}

}  // namespace graft

#endif
