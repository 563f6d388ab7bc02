// SPDX-License-Identifier: MIT
// Sentences of labelled words: reading them from files, and the tokens and labels they become.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/view.hpp>
#include <graft/text/lines.hpp>
#include <graft/text/placed_text.hpp>
#include <graft/text/sequence_template.hpp>
#include <graft/text/token_places.hpp>
#include <graft/text/tokenizer.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace graft {

// A sentence; word i has the tag tags[i].
struct labelled_words {
  std::vector<std::string> words;
  std::vector<std::string> tags;
  index_t line = 0;  // of the first word in the file it came from, counted from 1

  friend bool operator==(const labelled_words&, const labelled_words&) = default;
};

// Every line of a UTF-8 file is a word and its tag, the first and the last of the columns that tabs
// and blanks part. A line without columns ends a sentence, and so does one whose first column is
// "-DOCSTART-"; a byte order mark and CRLF are accepted. Throws input_error
// "FILE:LINE: expected …, found …" for anything else, a file without words included.
inline std::vector<labelled_words> read_labelled_words(const std::string& path);

// A model's input made of words. words[t] is the word that token t is a piece of: -1 for the
// special tokens around them.
struct encoded_words : encoded {
  std::vector<index_t> words;
};

// Each word is tokenised on its own; with a byte-level tokenizer as if a blank stood before it. At
// most `max_length` ids, special tokens included; what does not fit is cut off at the end. Equal to
// Hugging Face's is_split_into_words=True (with add_prefix_space=True). Throws input_error as
// tokenizer::encode does.
inline encoded_words encode_words(const tokenizer& t, std::span<const std::string> words,
                                  index_t max_length);

// One label per token: the first piece of each word has the word's, all other tokens have
// `ignored`. Throws input_error when there are fewer labels than words.
inline std::vector<std::int32_t> piece_labels(const encoded_words& encoded,
                                              std::span<const std::int32_t> word_labels,
                                              std::int32_t ignored = -100);

inline std::vector<labelled_words> read_labelled_words(const std::string& path) {
  constexpr std::string_view space = " \t";
  std::vector<labelled_words> sentences;
  bool within = false;  // the last sentence may go on
  const auto read_line = [&](std::string_view line, index_t number) {
    line.remove_prefix(std::min(line.find_first_not_of(space), line.size()));
    line = line.substr(0, line.find_last_not_of(space) + 1);
    const std::string_view word = line.substr(0, line.find_first_of(space));
    if (word.empty() || word == "-DOCSTART-") {
      within = false;
      return;
    }
    if (word.size() == line.size())
      throw input_error(path + ":" + std::to_string(number) +
                        ": expected word<TAB>tag, found 1 column");
    if (!within)
      sentences.push_back({{}, {}, number});
    within = true;
    sentences.back().words.emplace_back(word);
    sentences.back().tags.emplace_back(line.substr(line.find_last_of(space) + 1));
  };
  const index_t lines = text_detail::for_each_line<input_error>(path, read_line);
  if (sentences.empty())
    throw input_error(path + ":" + std::to_string(std::max<index_t>(lines, 1)) +
                      ": expected word<TAB>tag, found the end of the file");
  return sentences;
}

inline encoded_words encode_words(const tokenizer& t, std::span<const std::string> words,
                                  index_t max_length) {
  const index_t room = room_for_text(t.parts.single, max_length);
  std::vector<std::int32_t> ids;
  std::vector<index_t> word_of;
  for (std::size_t i = 0; i < words.size(); ++i) {
    for (const placed_token& token : placed_tokens(t.parts, words[i], true))
      ids.push_back(token.id);
    word_of.resize(ids.size(), static_cast<index_t>(i));
  }
  const index_t kept = std::min(room, static_cast<index_t>(ids.size()));
  encoded_words out{arrange(t.parts.single, ids, kept, {}, 0), {}};
  out.words.assign(out.ids.size(), -1);
  std::copy_n(word_of.begin(), kept,
              out.words.begin() + row_of(t.parts.single, template_part::first_text, kept, 0));
  return out;
}

inline std::vector<std::int32_t> piece_labels(const encoded_words& encoded,
                                              std::span<const std::int32_t> word_labels,
                                              std::int32_t ignored) {
  std::vector<std::int32_t> labels(encoded.words.size(), ignored);
  index_t before = -1;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const index_t word = encoded.words[i];
    if (word >= static_cast<index_t>(word_labels.size()))
      throw input_error("word labels: expected at least " + std::to_string(word + 1) + ", found " +
                        std::to_string(word_labels.size()));
    if (word >= 0 && word != before)
      labels[i] = word_labels[static_cast<std::size_t>(word)];
    before = word;
  }
  return labels;
}

}  // namespace graft
