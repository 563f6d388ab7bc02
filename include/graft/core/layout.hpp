// SPDX-License-Identifier: MIT
// How the rows of a packed batch fall into sequences.
#pragma once

#include <graft/core/view.hpp>

#include <cstdint>
#include <vector>

namespace graft {

// Who a row is, whatever batch it travels in: its example's number in the data set and its position.
struct row_name {
  std::uint32_t example = 0;
  std::uint32_t token = 0;
};

// The rows of sequence s are offsets[s] .. offsets[s + 1]; there is no padding anywhere.
// `names` has an entry per row: dropout draws the same mask for an example in every batch.
struct layout {
  std::vector<index_t> offsets{0};
  std::vector<row_name> names;

  index_t sequences() const { return static_cast<index_t>(offsets.size()) - 1; }
  index_t rows() const { return offsets.back(); }
  index_t first(index_t sequence) const { return offsets[static_cast<std::size_t>(sequence)]; }
  index_t length(index_t sequence) const { return first(sequence + 1) - first(sequence); }

  void clear() {
    offsets.resize(1);
    names.clear();
  }
  // Adds a sequence of `length` rows that belongs to `example`.
  void append(index_t length, std::uint32_t example) {
    offsets.push_back(offsets.back() + length);
    for (index_t t = 0; t < length; ++t)
      names.push_back({example, static_cast<std::uint32_t>(t)});
  }
};

// A layout in a cache, to be cleared before it is filled. It begins without memory, and emptying the cache
// by assignment leaves it what it has: such a cache allocates nothing in a warm step.
struct lasting_layout : layout {
  lasting_layout() : layout{{}, {}} {}
  lasting_layout(const lasting_layout&) = default;  // and so it is copied where others are moved
  lasting_layout& operator=(const lasting_layout&) = default;
};

// Every row a sequence of its own: what a layer without sequences is given.
inline layout separate_rows(index_t rows) {
  layout l;
  for (index_t i = 0; i < rows; ++i)
    l.append(1, static_cast<std::uint32_t>(i));
  return l;
}

// Every sequence with `more` rows in front of its own: what virtual tokens make of a batch. All rows of
// a sequence are numbered anew. `out` keeps its memory.
inline void lengthened_layout(const layout& from, index_t more, layout& out) {
  out.clear();
  for (index_t s = 0; s < from.sequences(); ++s)
    out.append(from.length(s) + more,
               from.length(s) > 0 ? from.names[static_cast<std::size_t>(from.first(s))].example : 0u);
}

// One row per sequence, named after the sequence's first row: what pooling hands on.
// `out` keeps its memory.
inline void pooled_layout(const layout& from, layout& out) {
  out.clear();
  for (index_t s = 0; s < from.sequences(); ++s)
    out.append(1, from.length(s) > 0 ? from.names[static_cast<std::size_t>(from.first(s))].example
                                     : 0u);
}

}  // namespace graft
