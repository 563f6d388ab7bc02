// SPDX-License-Identifier: MIT
#include "support/texts.hpp"

#include <graft/core/error.hpp>
#include <graft/io/file.hpp>
#include <graft/text/unicode.hpp>

#include <algorithm>
#include <iostream>
#include <sstream>
#include <utility>

#include <unistd.h>

namespace programs {

text_encoder text_encoder::open(const std::string& folder, const graft::bert_config& config,
                                graft::index_t room, graft::index_t wanted) {
  text_encoder encoder{graft::tokenizer::load(folder)};
  if (encoder.words.vocabulary_size() > config.vocabulary)
    throw graft::checkpoint_error(
        folder + ": expected a tokenizer of at most " + std::to_string(config.vocabulary) +
        " tokens, as the model has, found " + std::to_string(encoder.words.vocabulary_size()));
  encoder.longest = wanted > 0 ? std::min(wanted, room) : room;
  return encoder;
}

namespace {

template <class F>
graft::example encoded_at(const std::string& place, std::size_t& cut, F&& encode) {
  try {
    graft::encoded e = encode();
    cut += e.truncated ? 1 : 0;
    return {std::move(e.ids), std::move(e.types)};
  } catch (const graft::input_error& e) {
    throw graft::input_error(place + ": " + graft::text_of(e));
  }
}

}  // namespace

graft::example text_encoder::operator()(const std::string& text, const std::string& place) {
  return encoded_at(place, cut, [&] { return words.encode(text, longest); });
}
graft::example text_encoder::operator()(const std::string& first, const std::string& second,
                                        const std::string& place) {
  return encoded_at(place, cut, [&] { return words.encode(first, second, longest); });
}

std::string text_encoder::warning() const {
  if (cut == 0)
    return "";
  return std::to_string(cut) + (cut == 1 ? " text has" : " texts have") + " more than " +
         std::to_string(longest) + " tokens and " + (cut == 1 ? "was" : "were") + " cut";
}

std::vector<std::string> read_lines(const std::string& path, std::size_t limit) {
  std::vector<std::string> lines;
  std::istringstream text(graft::read_text(path));
  for (std::string line; (limit == 0 || lines.size() < limit) && std::getline(text, line);) {
    if (line.ends_with('\r'))
      line.pop_back();
    if (const auto at = graft::unicode::first_invalid_byte(line); at >= 0)
      throw graft::input_error(path + ":" + std::to_string(lines.size() + 1) +
                               ": expected UTF-8, found an invalid sequence at byte " +
                               std::to_string(at));
    lines.push_back(std::move(line));
  }
  if (lines.empty())
    throw graft::input_error(path + ": expected texts, found an empty file");
  return lines;
}

void for_each_chunk(const std::function<void(const std::vector<input_line>&)>& f) {
  const std::size_t chunk = isatty(STDIN_FILENO) == 1 ? 1 : 256;
  std::vector<input_line> lines;
  std::size_t number = 0;
  const auto hand_on = [&] {
    f(lines);
    std::cout.flush();
    lines.clear();
  };
  for (std::string line; std::getline(std::cin, line);) {
    if (line.ends_with('\r'))
      line.pop_back();
    lines.push_back({std::move(line), "standard input:" + std::to_string(++number)});
    if (lines.size() == chunk)
      hand_on();
  }
  if (!lines.empty())
    hand_on();
}

}  // namespace programs
