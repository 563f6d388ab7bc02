// SPDX-License-Identifier: MIT
// Reading JSON files whose content nobody vouches for: every access names the file and the key when
// something else stands there.
#pragma once

#include <graft/core/error.hpp>
#include <graft/text/files.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

namespace graft::text_detail {

// A place in a JSON document: the value and the words that lead to it ("FILE: model.unk_token").
// Refers to the document, which must outlive it. All errors are `Error`.
template <class Error>
struct basic_json_place {
  const nlohmann::json* value;
  std::string name;
  const char* separator = ".";  // before the name of a member

  [[noreturn]] void fail(const std::string& expected) const {
    throw Error(name + ": expected " + expected + ", found " + found());
  }

  const nlohmann::json& object() const {
    if (!value->is_object())
      fail("an object");
    return *value;
  }
  const nlohmann::json& array() const {
    if (!value->is_array())
      fail("a list");
    return *value;
  }
  const std::string& string() const {
    if (!value->is_string())
      fail("a string");
    return value->get_ref<const std::string&>();
  }
  bool boolean() const {
    if (!value->is_boolean())
      fail("true or false");
    return value->get<bool>();
  }
  // A token id, or another count: 0 … 2^31 - 1.
  std::int32_t count() const {
    constexpr auto limit = std::numeric_limits<std::int32_t>::max();
    if (!value->is_number_integer())
      fail("a whole number");
    const bool fits = value->is_number_unsigned()
                          ? value->get<std::uint64_t>() <= std::uint64_t{limit}
                          : value->get<std::int64_t>() >= 0 && value->get<std::int64_t>() <= limit;
    if (!fits)
      fail("a number from 0 to " + std::to_string(limit));
    return value->get<std::int32_t>();
  }

  // The member, or nothing when it is missing or null.
  std::optional<basic_json_place> find(const std::string& key) const {
    const auto member = object().find(key);
    if (member == value->end() || member->is_null())
      return std::nullopt;
    return element(*member, key);
  }
  basic_json_place at(const std::string& key) const {
    if (auto member = find(key))
      return *std::move(member);
    throw Error(inner(key) + ": expected a value, found none");
  }
  // `member` is an element of this list or object.
  basic_json_place element(const nlohmann::json& member, const std::string& key) const {
    return {&member, inner(key)};
  }
  // Calls f(element) for the elements of a list, which are named by their numbers from 0.
  template <class F>
  void for_each(F&& f) const {
    std::size_t i = 0;
    for (const auto& member : array())
      f(element(member, std::to_string(i++)));
  }

 private:
  std::string inner(const std::string& key) const { return name + separator + key; }
  std::string found() const {
    if (value->is_number() || value->is_boolean())
      return value->dump();
    if (value->is_string() && value->get_ref<const std::string&>().size() <= 40)
      return value->dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    return std::string("a value of type ") + value->type_name();
  }
};

template <class Error>
struct basic_json_document {
  nlohmann::json document;
  std::string path;

  basic_json_place<Error> root() const { return {&document, path, ": "}; }
};

using json_place = basic_json_place<checkpoint_error>;
using json_document = basic_json_document<checkpoint_error>;

template <class Error = checkpoint_error>
basic_json_document<Error> open_json(const std::filesystem::path& path) {
  const std::string bytes = read_whole<Error>(path);
  // The parser's message without its number.
  const auto reason = [](const nlohmann::json::exception& failure) {
    const std::string_view what = failure.what();
    const auto number = what.find("] ");
    return std::string(what.substr(number == what.npos ? 0 : number + 2));
  };
  // The parser would take a zero byte for the end of the text.
  if (const auto zero = bytes.find('\0'); zero != bytes.npos)
    throw Error(path.string() + ": byte " + std::to_string(zero + 1) +
                ": expected JSON, found a zero byte");
  try {
    return {nlohmann::json::parse(bytes), path.string()};
  } catch (const nlohmann::json::parse_error& failure) {
    throw Error(path.string() + ": byte " + std::to_string(failure.byte) +
                ": expected JSON, found a " + reason(failure));
  } catch (const nlohmann::json::exception& failure) {
    throw Error(path.string() + ": expected JSON, found a " + reason(failure));
  }
}

}  // namespace graft::text_detail
