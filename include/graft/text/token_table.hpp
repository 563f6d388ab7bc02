// SPDX-License-Identifier: MIT
// Tokens and their numbers, both ways.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace graft {

// The id of what is not there.
inline constexpr std::int32_t no_token = -1;

// Ids need be neither dense nor in order: published vocabularies have holes.
class token_table {
 public:
  // A token that is inserted twice has the later id; both ids name it.
  void insert(std::string_view token, std::int32_t id) {
    ids_.insert_or_assign(std::string(token), id);
    texts_.insert_or_assign(id, std::string(token));
    size_ = std::max(size_, id + std::int64_t{1});
    longest_ = std::max(longest_, token.size());
  }

  // no_token when it is not in the table.
  std::int32_t id(std::string_view token) const {
    const auto found = ids_.find(token);
    return found == ids_.end() ? no_token : found->second;
  }

  // Null when no token has this id.
  const std::string* text(std::int32_t id) const {
    const auto found = texts_.find(id);
    return found == texts_.end() ? nullptr : &found->second;
  }

  std::int64_t size() const { return size_; }       // the largest id + 1
  std::size_t longest() const { return longest_; }  // bytes of the longest token

 private:
  struct hash : std::hash<std::string_view> {
    using is_transparent = void;
  };

  std::unordered_map<std::string, std::int32_t, hash, std::equal_to<>> ids_;
  std::unordered_map<std::int32_t, std::string> texts_;
  std::int64_t size_ = 0;
  std::size_t longest_ = 0;
};

}  // namespace graft
