// SPDX-License-Identifier: MIT
// Rows of numbers for each of many examples, as many as a budget allows.
#pragma once

#include <graft/core/view.hpp>
#include <graft/io/scratch_memory.hpp>
#include <graft/train/examples.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace graft::detail {

// Has room for groups of examples, those that come first and fit into `budget` bytes, in memory or, where
// a folder is named, in a file there. A group is filled as a whole, once. Example i has rows[i] rows.
template <class T>
class kept_rows {
 public:
  kept_rows() = default;
  kept_rows(const batch_plan& groups, std::vector<index_t> rows, index_t width, std::size_t budget,
            const std::string& folder)
      : rows_(std::move(rows)), width_(width), group_of_(rows_.size(), none), first_(rows_.size(), 0) {
    std::size_t end = 0;
    for (const auto& group : groups) {
      std::size_t until = end;
      for (const std::uint32_t i : group)
        until += numbers(i);
      if (until > budget / sizeof(T))
        continue;
      for (const std::uint32_t i : group) {
        group_of_[i] = static_cast<std::uint32_t>(groups_.size());
        first_[i] = end;
        end += numbers(i);
      }
      groups_.push_back(group);
    }
    filled_.resize(groups_.size(), false);
    memory_ = scratch_memory(end * sizeof(T), folder);
  }

  index_t width() const { return width_; }
  index_t rows(std::uint32_t i) const { return rows_[i]; }
  std::size_t room() const { return memory_.size(); }  // bytes
  bool has_room() const { return !groups_.empty(); }
  bool has_room(std::uint32_t i) const { return has_room() && group_of_[i] != none; }
  bool has(std::uint32_t i) const { return filled_[group_of_[i]]; }

  // Those that are filled together with an example that there is room for.
  std::span<const std::uint32_t> group_of(std::uint32_t i) const { return groups_[group_of_[i]]; }
  // Gives them their rows, one after another.
  void fill(std::uint32_t i, std::span<const T> values) {
    const auto group = group_of(i);
    std::copy(values.begin(), values.end(), data() + first_[group.front()]);
    filled_[group_of_[i]] = true;
    examples_ += group.size();
    bytes_ += values.size_bytes();
  }
  std::span<const T> operator[](std::uint32_t i) const { return {data() + first_[i], numbers(i)}; }

  // Of what is filled.
  std::size_t examples() const { return examples_; }
  std::size_t bytes() const { return bytes_; }

 private:
  static constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();

  std::size_t numbers(std::uint32_t i) const { return static_cast<std::size_t>(rows_[i] * width_); }
  T* data() const { return reinterpret_cast<T*>(memory_.data()); }

  std::vector<index_t> rows_;
  index_t width_ = 0;
  std::vector<std::uint32_t> group_of_;  // by example
  std::vector<std::size_t> first_;       // … where its numbers begin
  batch_plan groups_;
  std::vector<bool> filled_;
  scratch_memory memory_;
  std::size_t examples_ = 0, bytes_ = 0;
};

}  // namespace graft::detail
