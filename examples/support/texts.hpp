// SPDX-License-Identifier: MIT
// Texts of files and of standard input, encoded.
#pragma once

#include <graft/io/checkpoint_folder.hpp>
#include <graft/model/bert.hpp>
#include <graft/text/tokenizer.hpp>
#include <graft/train/examples.hpp>

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace programs {

// Turns texts into examples of at most `longest` tokens, and counts those it had to cut.
struct text_encoder {
  graft::tokenizer words;
  graft::index_t longest = 0;
  std::size_t cut = 0;

  // The tokenizer of a checkpoint folder; `longest` is `wanted` tokens, or the `room` that the model
  // has for them where that is less or `wanted` is 0. Throws checkpoint_error when the tokenizer has
  // more tokens than the model.
  static text_encoder open(const std::string& folder, const graft::bert_config& config,
                           graft::index_t room, graft::index_t wanted);

  // Errors begin with `place`.
  graft::example operator()(const std::string& text, const std::string& place);
  // A pair.
  graft::example operator()(const std::string& first, const std::string& second,
                            const std::string& place);

  // "" or "3 texts have more than 128 tokens and were cut".
  std::string warning() const;
};

// The lines of a UTF-8 file, the first `limit` of them (0: all). Throws input_error for a file
// without any, and with the line's number for one that is not UTF-8.
std::vector<std::string> read_lines(const std::string& path, std::size_t limit);

struct input_line {
  std::string text, place;  // "standard input:3"
};

// Calls f for every few lines of standard input, at once for each when a person types, and writes out
// what f printed.
void for_each_chunk(const std::function<void(const std::vector<input_line>&)>& f);

}  // namespace programs
