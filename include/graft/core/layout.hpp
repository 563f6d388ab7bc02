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
  std::vector<index> offsets{0};
  std::vector<row_name> names;

  index sequences() const { return static_cast<index>(offsets.size()) - 1; }
  index rows() const { return offsets.back(); }
  index first(index sequence) const { return offsets[static_cast<std::size_t>(sequence)]; }
  index length(index sequence) const { return first(sequence + 1) - first(sequence); }

  void clear() {
    offsets.resize(1);
    names.clear();
  }
  // Adds a sequence of `length` rows that belongs to `example`.
  void append(index length, std::uint32_t example) {
    offsets.push_back(offsets.back() + length);
    for (index t = 0; t < length; ++t)
      names.push_back({example, static_cast<std::uint32_t>(t)});
  }
};

// Every row a sequence of its own: what a layer without sequences is given.
inline layout separate_rows(index rows) {
  layout l;
  for (index i = 0; i < rows; ++i)
    l.append(1, static_cast<std::uint32_t>(i));
  return l;
}

// One row per sequence, named after the sequence's first row: what pooling hands on.
// `out` keeps its memory.
inline void pooled_layout(const layout& from, layout& out) {
  out.clear();
  for (index s = 0; s < from.sequences(); ++s)
    out.append(1, from.length(s) > 0 ? from.names[static_cast<std::size_t>(from.first(s))].example
                                     : 0u);
}

}  // namespace graft
