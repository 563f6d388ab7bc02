// SPDX-License-Identifier: MIT
// How special tokens frame a text or a pair of texts, and how much of each text fits.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/view.hpp>

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace graft {

// A model's input. `types` has one entry per id: the segment each token belongs to. The special
// tokens are included; `truncated` says that tokens of the text were left out.
struct encoded {
  std::vector<std::int32_t> ids;
  std::vector<std::int32_t> types;
  bool truncated = false;
};

enum class template_part { special, first_text, second_text };

struct template_item {
  template_part part = template_part::special;
  std::int32_t type = 0;
  std::vector<std::int32_t> ids;  // of the special tokens, empty for a text
};

// In order, e.g. [CLS] first [SEP] second [SEP].
using sequence_template = std::vector<template_item>;

inline index_t special_count(const sequence_template& items) {
  index_t count = 0;
  for (const auto& item : items)
    count += static_cast<index_t>(item.ids.size());
  return count;
}

// How many tokens of texts fit into `max_length`. Throws input_error when the special tokens alone
// do not.
inline index_t room_for_text(const sequence_template& items, index_t max_length) {
  const index_t special = special_count(items);
  if (max_length < special)
    throw input_error("max_length: expected at least " + std::to_string(special) +
                      ", the number of special tokens, found " + std::to_string(max_length));
  return max_length - special;
}

// The row of a text's first token when `first` and `second` tokens of the texts are kept.
inline index_t row_of(const sequence_template& items, template_part part, index_t first,
                      index_t second) {
  index_t row = 0;
  for (const auto& item : items) {
    if (item.part == part)
      break;
    row += item.part == template_part::first_text    ? first
           : item.part == template_part::second_text ? second
                                                     : static_cast<index_t>(item.ids.size());
  }
  return row;
}

// How many tokens of two texts with `first` and `second` tokens fit into `room`, the longer one
// being cut first. When both must be cut, the longer one keeps the odd token (of equals the
// second).
inline std::pair<index_t, index_t> longest_first(index_t first, index_t second, index_t room) {
  if (first + second <= room)
    return {first, second};
  index_t shorter = std::min(first, second);
  index_t longer = std::max(shorter, room - shorter);
  if (shorter + longer > room) {
    shorter = room / 2;
    longer = room - shorter;
  }
  return first > second ? std::pair{longer, shorter} : std::pair{shorter, longer};
}

// The first `first_kept` and `second_kept` ids of two texts in their frame.
inline encoded arrange(const sequence_template& items, const std::vector<std::int32_t>& first,
                       index_t first_kept, const std::vector<std::int32_t>& second,
                       index_t second_kept) {
  encoded out;
  const auto add = [&](const std::vector<std::int32_t>& ids, index_t count, std::int32_t type) {
    out.ids.insert(out.ids.end(), ids.begin(), ids.begin() + count);
    out.types.insert(out.types.end(), static_cast<std::size_t>(count), type);
  };
  for (const auto& item : items) {
    switch (item.part) {
      case template_part::special:
        add(item.ids, static_cast<index_t>(item.ids.size()), item.type);
        break;
      case template_part::first_text:
        add(first, first_kept, item.type);
        break;
      case template_part::second_text:
        add(second, second_kept, item.type);
        break;
    }
  }
  out.truncated = first_kept < static_cast<index_t>(first.size()) ||
                  second_kept < static_cast<index_t>(second.size());
  return out;
}

}  // namespace graft
