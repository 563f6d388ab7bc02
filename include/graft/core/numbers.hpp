// SPDX-License-Identifier: MIT
// The numbers of a decoration that may be decided at run time.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/plain.hpp>

#include <cmath>
#include <cstdio>
#include <functional>
#include <initializer_list>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace graft {

// Numbers by the names of a decoration's options, in place of what a recipe is written with; what is
// not named stays:  decoration_numbers{{"rank", 4}, {"alpha", 16}}.
//
// A decorated layer takes them with renumber() before its parameters are initialised, and tells its
// own with numbers(). Reading throws input_error for a value that the option cannot have.
class decoration_numbers {
 public:
  using map = std::map<std::string, double, std::less<>>;

  decoration_numbers() = default;
  decoration_numbers(std::initializer_list<map::value_type> values) : values_(values) {}

  void set(std::string_view name, double value);
  bool empty() const { return values_.empty(); }
  bool operator==(const decoration_numbers&) const = default;
  map::const_iterator begin() const { return values_.begin(); }
  map::const_iterator end() const { return values_.end(); }

  std::optional<double> find(std::string_view name) const;

  // A count of at least `least`.
  std::optional<int> count(std::string_view name, int least) const;

  // Sets `to` where the number is given.
  template <class T>
  void take(std::string_view name, T& to) const {
    if (const auto value = find(name))
      to = static_cast<T>(*value);
  }
  // … a share that is dropped: at least 0 and below 1.
  template <class T>
  void take_rate(std::string_view name, T& to) const {
    const auto value = find(name);
    if (value && !(*value >= 0 && *value < 1))
      throw input_error(std::string(name) + ": expected at least 0 and below 1, found " +
                        text(*value));
    take(name, to);
  }

 private:
  static std::string text(double value);

  map values_;
};

}  // namespace graft

#if GRAFT_BODIES

namespace graft {

GRAFT_PLAIN void decoration_numbers::set(std::string_view name, double value) {
  values_.insert_or_assign(std::string(name), value);
}

GRAFT_PLAIN std::optional<double> decoration_numbers::find(std::string_view name) const {
  const auto found = values_.find(name);
  return found == values_.end() ? std::nullopt : std::optional(found->second);
}

GRAFT_PLAIN std::optional<int> decoration_numbers::count(std::string_view name, int least) const {
  const auto value = find(name);
  if (!value)
    return std::nullopt;
  if (!(*value >= least && *value <= std::numeric_limits<int>::max()) ||
      std::floor(*value) != *value)
    throw input_error(std::string(name) + ": expected a whole number of at least " +
                      std::to_string(least) + ", found " + text(*value));
  return static_cast<int>(*value);
}

GRAFT_PLAIN std::string decoration_numbers::text(double value) {
  char digits[32];
  std::snprintf(digits, sizeof digits, "%g", value);
  return digits;
}

}  // namespace graft

#endif
