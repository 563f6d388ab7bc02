// SPDX-License-Identifier: MIT
// How the rows of a packed batch fall into sequences.
#pragma once

#include <graft/core/plain.hpp>
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
// `tasks` has one per sequence: which of several tasks it is an example of.
struct layout {
  std::vector<index_t> offsets{0};
  std::vector<row_name> names;
  std::vector<std::uint32_t> tasks;

  index_t sequences() const { return static_cast<index_t>(offsets.size()) - 1; }
  index_t rows() const { return offsets.back(); }
  index_t first(index_t sequence) const { return offsets[static_cast<std::size_t>(sequence)]; }
  index_t length(index_t sequence) const { return first(sequence + 1) - first(sequence); }
  std::uint32_t task(index_t sequence) const { return tasks[static_cast<std::size_t>(sequence)]; }
  // The example that a sequence belongs to; 0 for one without rows.
  std::uint32_t example(index_t sequence) const {
    return length(sequence) > 0 ? names[static_cast<std::size_t>(first(sequence))].example : 0;
  }

  void clear() {
    offsets.resize(1);
    names.clear();
    tasks.clear();
  }
  // Adds a sequence of `length` rows that belongs to `example`.
  void append(index_t length, std::uint32_t example, std::uint32_t task = 0);
};

// A layout in a cache, to be cleared before it is filled. It begins without memory, and emptying the cache
// by assignment leaves it what it has: such a cache allocates nothing in a warm step.
struct lasting_layout : layout {
  lasting_layout() : layout{{}, {}, {}} {}
  lasting_layout(const lasting_layout&) = default;  // and so it is copied where others are moved
  lasting_layout& operator=(const lasting_layout&) = default;
};

// Every row a sequence of its own: what a layer without sequences is given.
GRAFT_PLAIN layout separate_rows(index_t rows);

// Every sequence with `more` rows in front of its own: what virtual tokens make of a batch. All rows of
// a sequence are numbered anew. `out` keeps its memory.
GRAFT_PLAIN void lengthened_layout(const layout& from, index_t more, layout& out);

// One row per sequence, named after the sequence's first row: what pooling hands on.
// `out` keeps its memory.
GRAFT_PLAIN void pooled_layout(const layout& from, layout& out);

// Some rows of a batch, in its order: their numbers there, and how they fall into sequences.
struct row_share {
  std::vector<std::int32_t> ids;
  layout rows;

  // Adds rows first .. first + count of sequence s, counted from its beginning.
  void take(const layout& from, index_t s, index_t first, index_t count) {
    if (count == 0)
      return;
    for (index_t i = from.first(s) + first; i < from.first(s) + first + count; ++i) {
      ids.push_back(static_cast<std::int32_t>(i));
      rows.names.push_back(from.names[static_cast<std::size_t>(i)]);
    }
    rows.offsets.push_back(rows.offsets.back() + count);
    rows.tasks.push_back(from.task(s));
  }
  void take(const layout& from, index_t s) { take(from, s, 0, from.length(s)); }
};

}  // namespace graft

#if GRAFT_BODIES

namespace graft {

GRAFT_PLAIN layout separate_rows(index_t rows) {
  layout l;
  for (index_t i = 0; i < rows; ++i)
    l.append(1, static_cast<std::uint32_t>(i));
  return l;
}

GRAFT_PLAIN void lengthened_layout(const layout& from, index_t more, layout& out) {
  out.clear();
  for (index_t s = 0; s < from.sequences(); ++s)
    out.append(from.length(s) + more, from.example(s), from.task(s));
}

GRAFT_PLAIN void pooled_layout(const layout& from, layout& out) {
  out.clear();
  for (index_t s = 0; s < from.sequences(); ++s) {
    out.append(1, 0, from.task(s));
    if (from.length(s) > 0)
      out.names.back() = from.names[static_cast<std::size_t>(from.first(s))];
  }
}

GRAFT_PLAIN void layout::append(index_t length, std::uint32_t example, std::uint32_t task) {
  offsets.push_back(offsets.back() + length);
  tasks.push_back(task);
  for (index_t t = 0; t < length; ++t)
    names.push_back({example, static_cast<std::uint32_t>(t)});
}

}  // namespace graft

#endif
