// SPDX-License-Identifier: MIT
// The options of one method in an AdapterHub configuration, each asked for by its name.
#pragma once

#include <graft/core/activation.hpp>
#include <graft/core/error.hpp>
#include <graft/core/view.hpp>
#include <graft/io/json.hpp>

#include <algorithm>
#include <initializer_list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace graft {

namespace detail {

// Reads one method's options and remembers which, so that the rest can be told.
class adapterhub_options {
 public:
  adapterhub_options(nlohmann::json options, std::string file)
      : options_(std::move(options)), file_(std::move(file)) {}

  const std::string& file() const { return file_; }

  template <class T>
  T get(const char* key) {
    known_.push_back(key);
    return graft::get<T>(options_, key, file_);
  }
  template <class T>
  T get(const char* key, T fallback) {
    known_.push_back(key);
    return graft::get<T>(options_, key, file_, fallback);
  }
  nlohmann::json value(const char* key) {
    known_.push_back(key);
    return options_.contains(key) ? options_.at(key) : nlohmann::json();
  }

  [[noreturn]] void refuse(const char* key, const std::string& expected) const {
    throw checkpoint_error(file_ + ": " + in_quotes(key) + ": expected " + expected + ", found " +
                           (options_.contains(key) ? described(options_.at(key)) : "no such key"));
  }
  // An option that changes what is computed, in a way that graft does not have.
  template <class T>
  void expect(const char* key, T only) {
    if (get<T>(key, only) != only)
      refuse(key, nlohmann::json(only).dump());
  }
  void expect_null(const char* key) {
    if (!value(key).is_null())
      refuse(key, "null");
  }
  // How an adapter starts, and what concerns other models, says nothing of what it computes.
  void ignore(std::initializer_list<const char*> keys) {
    known_.insert(known_.end(), keys.begin(), keys.end());
  }
  void note_unknown(std::vector<std::string>& notes) const {
    for (const auto& [key, found] : options_.items())
      if (std::find(known_.begin(), known_.end(), key) == known_.end())
        notes.push_back(file_ + ": " + in_quotes(key) + " is unknown and was ignored");
  }

  std::string activation() {
    const auto name = get<std::string>("non_linearity");
    std::string lower = name;
    std::transform(lower.begin(), lower.end(), lower.begin(), [](char c) {
      return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    try {
      return std::string(name_of(activation_named(lower)));
    } catch (const checkpoint_error& e) {
      throw checkpoint_error(file_ + ": \"non_linearity\": " + text_of(e));
    }
  }
  // At least 1.
  int count(const char* key, std::optional<int> fallback = {}) {
    const int n = fallback ? get<int>(key, *fallback) : get<int>(key);
    if (n < 1)
      refuse(key, "at least 1");
    return n;
  }
  std::vector<index_t> layers_without(index_t layers) {
    auto without = get<std::vector<index_t>>("leave_out", {});
    for (const index_t n : without)
      if (n < 0 || n >= layers)
        refuse("leave_out", "layers below " + std::to_string(layers));
    return without;
  }

 private:
  nlohmann::json options_;
  std::string file_;
  std::vector<std::string> known_;
};

}  // namespace detail

}  // namespace graft
