// SPDX-License-Identifier: MIT
#include "support/training_log.hpp"

#include <graft/core/error.hpp>
#include <graft/io/file.hpp>
#include <graft/io/json.hpp>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <filesystem>
#include <limits>
#include <set>
#include <string_view>

namespace programs {

namespace {

bool is_finite(double v) { return std::isfinite(v); }

// For a message: escaped, cut where long.
std::string quoted(std::string_view line) {
  constexpr std::size_t longest = 60;
  const nlohmann::json text = std::string(line.substr(0, longest));
  return text.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) +
         (line.size() > longest ? "..." : "");
}

bool is_curve(const std::string& key, const nlohmann::json& value) {
  return key == "loss" || (key.starts_with("dev_") && (value.is_number() || value.is_null()));
}

void read_line(std::string_view line, const std::string& place,
               std::map<std::string, curve>& curves) {
  const auto object = nlohmann::json::parse(line, nullptr, false);
  if (!object.is_object())
    throw graft::input_error(place + ": expected a JSON object, found " +
                             (line.empty() ? "an empty line" : quoted(line)));
  for (const auto& [key, value] : object.items()) {
    if (!is_curve(key, value))
      continue;
    const double number = value.is_null() ? std::numeric_limits<double>::quiet_NaN()
                                          : graft::get<double>(object, key, place);
    curves[key].add(graft::get<double>(object, "step", place), number);
  }
}

bool is_digit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }

// Words and what is between them, by turns or not: "runs", "/", "lr", "-", "1e-3", ".", "log". A
// number stays whole.
std::vector<std::string> pieces_of(const std::string& path) {
  std::vector<std::string> pieces;
  bool in_word = false;
  for (std::size_t i = 0; i < path.size(); ++i) {
    const char c = path[i];
    const char before = i > 0 ? path[i - 1] : '\0',
               after = i + 1 < path.size() ? path[i + 1] : '\0';
    const bool in_number =
        is_digit(after) && ((c == '.' && is_digit(before)) ||
                            (c == '-' && before == 'e' && i > 1 && is_digit(path[i - 2])));
    const bool between =
        std::string_view("/\\._- ").find(c) != std::string_view::npos && !in_number;
    if (in_word && !between)
      pieces.back() += c;
    else
      pieces.emplace_back(1, c);
    in_word = !between;
  }
  if (pieces.empty())
    pieces.emplace_back();
  return pieces;
}

}  // namespace

void curve::add(double step, double value) {
  while (!steps.empty() && steps.back() >= step) {
    steps.pop_back();
    values.pop_back();
  }
  steps.push_back(step);
  values.push_back(value);
}

curve smoothed(const curve& c, std::size_t window) {
  curve result{c.steps, c.values};
  const std::size_t count = c.values.size(), before = (window - 1) / 2, after = window / 2;
  for (std::size_t i = 0; i < count; ++i) {
    if (!std::isfinite(c.values[i]))
      continue;
    double sum = 0, terms = 0;
    for (std::size_t k = i - std::min(i, before); k < std::min(count, i + after + 1); ++k)
      if (std::isfinite(c.values[k])) {
        sum += c.values[k];
        ++terms;
      }
    result.values[i] = sum / terms;
  }
  return result;
}

std::map<std::string, curve> read_training_log(const std::string& path) {
  const std::string text = graft::read_text(path);
  if (text.empty())
    throw graft::input_error(path + ": expected lines of JSON, found an empty file");
  std::map<std::string, curve> curves;
  std::size_t number = 0;
  for (std::string_view rest = text; !rest.empty();) {
    const std::size_t end = rest.find('\n');
    read_line(rest.substr(0, end), path + ":" + std::to_string(++number), curves);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  }
  std::erase_if(curves, [](const auto& entry) {
    const auto& values = entry.second.values;
    return std::none_of(values.begin(), values.end(), is_finite);
  });
  if (curves.empty())
    throw graft::input_error(path + ": expected numbers \"loss\" or \"dev_...\", found none");
  return curves;
}

std::vector<std::string> short_names(const std::vector<std::string>& paths) {
  if (paths.size() == 1)
    return {std::filesystem::path(paths[0]).stem().string()};
  std::vector<std::vector<std::string>> all;
  for (const auto& path : paths)
    all.push_back(pieces_of(path));
  std::size_t room = all[0].size() - 1;  // a piece at least remains of each
  for (const auto& pieces : all)
    room = std::min(room, pieces.size() - 1);
  const auto common = [&](std::size_t most, auto piece) {
    std::size_t n = 0;
    while (n < most && std::all_of(all.begin(), all.end(), [&](const auto& pieces) {
             return piece(pieces, n) == piece(all[0], n);
           }))
      ++n;
    return n;
  };
  const std::size_t back =
      common(room, [](const auto& pieces, std::size_t n) { return pieces[pieces.size() - 1 - n]; });
  std::size_t front =
      common(room - back, [](const auto& pieces, std::size_t n) { return pieces[n]; });
  // A number alone says nothing: the word before it stays.
  if (front >= 2 && std::any_of(all.begin(), all.end(),
                                [&](const auto& pieces) { return is_digit(pieces[front][0]); }))
    front -= 2;

  std::vector<std::string> names;
  for (const auto& pieces : all) {
    std::string name;
    for (std::size_t i = front; i < pieces.size() - back; ++i)
      name += pieces[i];
    name.erase(0, std::min(name.find_first_not_of("/\\._- "), name.size()));
    names.push_back(name);
  }
  const std::set<std::string> different(names.begin(), names.end());
  return different.size() == names.size() && !different.contains("") ? names : paths;
}

}  // namespace programs
