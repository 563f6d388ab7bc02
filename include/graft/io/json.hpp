// SPDX-License-Identifier: MIT
// Strict JSON: text that is not exactly one JSON value is refused with its place, and values are
// taken out with their type checked. Every error is a checkpoint_error that begins with the file.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/plain.hpp>

#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace graft {

// Objects and lists may be nested this deep.
inline constexpr int json_depth_limit = 64;

namespace detail {

// Text in quotes for a message: control characters escaped, long text cut.
GRAFT_PLAIN std::string in_quotes(std::string_view text);

}  // namespace detail

// The one JSON value that `text` is. `file` is what errors call it. Refused besides wrong syntax
// and invalid UTF-8: a key that occurs twice in one object, nesting beyond json_depth_limit,
// numbers too large for a double, comments, anything after the value.
GRAFT_PLAIN nlohmann::json parse_json(std::string_view text, const std::string& file);

GRAFT_PLAIN nlohmann::json read_json(const std::filesystem::path& path);

namespace detail {

template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;
template <class T>
inline constexpr bool is_list = false;
template <class T>
inline constexpr bool is_list<std::vector<T>> = true;
template <class T>
inline constexpr bool is_table = false;
template <class T>
inline constexpr bool is_table<std::map<std::string, T>> = true;

// What a value is, for a message: lists and objects by their size, the rest as it is written.
GRAFT_PLAIN std::string described(const nlohmann::json& value);

[[noreturn]] GRAFT_PLAIN void throw_type_error(const std::string& place, const std::string& expected,
                                               const nlohmann::json& found);

template <std::integral T>
T integer_from(const nlohmann::json& value, const std::string& place) {
  using limits = std::numeric_limits<T>;
  if (value.is_number_unsigned() && std::in_range<T>(value.get<std::uint64_t>()))
    return static_cast<T>(value.get<std::uint64_t>());
  if (value.is_number_integer() && !value.is_number_unsigned() &&
      std::in_range<T>(value.get<std::int64_t>()))
    return static_cast<T>(value.get<std::int64_t>());
  throw_type_error(
      place,
      "an integer from " + std::to_string(limits::min()) + " to " + std::to_string(limits::max()),
      value);
}

template <class T>
T value_from(const nlohmann::json& value, const std::string& place) {
  if constexpr (std::is_same_v<T, nlohmann::json>) {
    return value;
  } else if constexpr (std::is_same_v<T, bool>) {
    if (!value.is_boolean())
      throw_type_error(place, "true or false", value);
    return value.get<bool>();
  } else if constexpr (std::is_integral_v<T>) {
    return integer_from<T>(value, place);
  } else if constexpr (std::is_floating_point_v<T>) {
    if (!value.is_number() || std::abs(value.get<double>()) > std::numeric_limits<T>::max())
      throw_type_error(place, "a number", value);
    return value.get<T>();
  } else if constexpr (std::is_same_v<T, std::string>) {
    if (!value.is_string())
      throw_type_error(place, "a string", value);
    return value.get<std::string>();
  } else if constexpr (is_list<T>) {
    if (!value.is_array())
      throw_type_error(place, "a list", value);
    T list;
    for (const auto& item : value)
      list.push_back(value_from<typename T::value_type>(
          item, place + "[" + std::to_string(list.size()) + "]"));
    return list;
  } else if constexpr (is_table<T>) {
    if (!value.is_object())
      throw_type_error(place, "an object", value);
    T table;
    for (const auto& [key, item] : value.items())
      table.emplace(key, value_from<typename T::mapped_type>(item, place + "." + in_quotes(key)));
    return table;
  } else {
    static_assert(is_optional<T>, "graft: get() reads bool, numbers, strings, lists, tables, json");
    return value_from<typename T::value_type>(value, place);
  }
}

}  // namespace detail

// The value of `key` as a T: bool, an integer (never from 8.0, never out of range), a
// floating-point number (also from an integer), std::string, std::vector<T>, std::map<std::string,
// T>, nlohmann::json (anything), or std::optional of these, empty when the key is absent or null.
// Errors name `file`, the key, what was expected and what was found.
template <class T>
T get(const nlohmann::json& object, const std::string& key, const std::string& file) {
  if (!object.is_object())
    detail::throw_type_error(file, "an object", object);
  const std::string place = file + ": " + detail::in_quotes(key);
  const auto found = object.find(key);
  if constexpr (detail::is_optional<T>) {
    if (found == object.end() || found->is_null())
      return std::nullopt;
  }
  if (found == object.end())
    throw checkpoint_error(place + ": expected a value, found no such key");
  return detail::value_from<T>(*found, place);
}

// The same, `fallback` when the key is absent or null.
template <class T>
T get(const nlohmann::json& object, const std::string& key, const std::string& file,
      const std::type_identity_t<T>& fallback) {
  return get<std::optional<T>>(object, key, file).value_or(fallback);
}

}  // namespace graft

#if GRAFT_BODIES

#include <graft/io/file.hpp>

#include <iterator>
#include <set>

namespace graft {

namespace detail {

GRAFT_PLAIN std::string in_quotes(std::string_view text) {
  constexpr std::size_t longest = 120;
  const bool cut = text.size() > longest;
  const nlohmann::json value = std::string(text.substr(0, longest)) + (cut ? "..." : "");
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// Walks the text and tells `reached` how far the parser has come.
struct watched_iterator {
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  const char* at;
  const char** reached;

  reference operator*() const { return *at; }
  watched_iterator& operator++() {
    *reached = ++at;
    return *this;
  }
  watched_iterator operator++(int) {
    const watched_iterator before = *this;
    ++*this;
    return before;
  }
  bool operator==(const watched_iterator& other) const { return at == other.at; }
};

[[noreturn]] inline void throw_json_error(const std::string& file, std::string_view before,
                                          const std::string& finding) {
  std::size_t line = 1;
  std::size_t column = 1;
  for (const char c : before.substr(0, before.empty() ? 0 : before.size() - 1)) {
    line += c == '\n' ? 1 : 0;
    column = c == '\n' ? 1 : column + 1;
  }
  throw checkpoint_error(file + ", line " + std::to_string(line) + ", column " +
                         std::to_string(column) + ": " + finding);
}

// The reason in a message of the parser, without its own numbering and place.
inline std::string reason_of(const nlohmann::json::exception& failure) {
  constexpr std::size_t longest = 200;
  std::string reason = failure.what();
  if (const auto place = reason.find(" column "); place != std::string::npos)
    reason.erase(0, reason.find(": ", place) + 2);
  else
    reason.erase(0, reason.find("] ") + 2);
  if (reason.size() > longest)
    reason.resize(longest);
  return reason;
}

GRAFT_PLAIN std::string described(const nlohmann::json& value) {
  if (value.is_array())
    return "a list of " + std::to_string(value.size());
  if (value.is_object())
    return "an object";
  if (value.is_string())
    return "the string " + in_quotes(value.get_ref<const std::string&>());
  return value.dump();
}

[[noreturn]] GRAFT_PLAIN void throw_type_error(const std::string& place, const std::string& expected,
                                               const nlohmann::json& found) {
  throw checkpoint_error(place + ": expected " + expected + ", found " + described(found));
}

}  // namespace detail

GRAFT_PLAIN nlohmann::json parse_json(std::string_view text, const std::string& file) {
  using event = nlohmann::json::parse_event_t;
  const char* begin = text.data();
  const char* reached = begin;
  const auto so_far = [&] { return text.substr(0, static_cast<std::size_t>(reached - begin)); };

  // The parser would take a zero byte for the end of the text.
  if (const auto zero = text.find('\0'); zero != std::string_view::npos)
    detail::throw_json_error(file, text.substr(0, zero + 1), "expected JSON, found a zero byte");

  std::vector<std::set<std::string>> keys;  // of every object that is open
  const auto watch = [&](int depth, event what, nlohmann::json& parsed) {
    if ((what == event::object_start || what == event::array_start) && depth >= json_depth_limit)
      detail::throw_json_error(
          file, so_far(), "nested deeper than " + std::to_string(json_depth_limit) + " levels");
    if (what == event::object_start)
      keys.emplace_back();
    if (what == event::object_end)
      keys.pop_back();
    if (what == event::key && !keys.back().insert(parsed.get<std::string>()).second)
      detail::throw_json_error(file, so_far(),
                               "the key " + detail::in_quotes(parsed.get<std::string>()) +
                                   " occurs twice in one object");
    return true;
  };
  try {
    return nlohmann::json::parse(detail::watched_iterator{begin, &reached},
                                 detail::watched_iterator{begin + text.size(), &reached}, watch);
  } catch (const nlohmann::json::exception& failure) {
    detail::throw_json_error(file, so_far(), detail::reason_of(failure));
  }
}

GRAFT_PLAIN nlohmann::json read_json(const std::filesystem::path& path) {
  return parse_json(read_text(path), path.string());
}

}  // namespace graft

#endif
