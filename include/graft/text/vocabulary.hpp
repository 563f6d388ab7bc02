// SPDX-License-Identifier: MIT
// Building a WordPiece vocabulary from texts, for models that start from nothing.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/view.hpp>
#include <graft/text/added_tokens.hpp>
#include <graft/text/files.hpp>
#include <graft/text/unicode.hpp>
#include <graft/text/wordpiece.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <iterator>
#include <map>
#include <queue>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <unordered_map>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace graft {

// size        tokens wanted; fewer come out when the texts have no more to merge
// min_count   how often a character or a pair must occur to become a token
// normalizer  what the tokenizer that uses the vocabulary will do to its texts
struct vocabulary_options {
  index_t size = 4000;
  index_t min_count = 2;
  bert_normalizer normalizer;
};

// The special tokens, the characters in order of frequency, then merged pieces: the most frequent
// pair of neighbouring pieces is merged again and again, pieces within a word being written with
// ##. Equal texts give equal vocabularies. Throws input_error for a text that is not UTF-8 (texts
// are counted from 1) and when `size` leaves no room or there is no word. Sennrich et al. 2016,
// arXiv:1508.07909.
inline std::vector<std::string> build_vocabulary(const std::vector<std::string>& texts,
                                                 const vocabulary_options& options = {});

// Writes vocab.txt and tokenizer_config.json into `folder`, making it where there is none. Throws
// input_error when a line could not hold one of the tokens, graft::error when writing fails.
inline void write_vocabulary(const std::filesystem::path& folder,
                             const std::vector<std::string>& tokens,
                             const bert_normalizer& normalizer = {});

namespace text_detail {

inline constexpr const char* bert_specials[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};

// The words of all texts with their counts, special tokens and overlong words left out.
inline std::map<std::string, index_t> count_words(const std::vector<std::string>& texts,
                                                const bert_normalizer& normalizer) {
  std::vector<added_token> specials;
  for (const char* name : bert_specials) {
    specials.emplace_back();
    specials.back().content = name;
  }
  const added_tokens splitter(std::move(specials));
  std::map<std::string, index_t> counts;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (const index_t at = unicode::first_invalid_byte(texts[i]); at >= 0)
      throw input_error("text " + std::to_string(i + 1) + ": byte " + std::to_string(at) +
                        ": expected UTF-8, found an invalid sequence");
    for (const auto& piece : splitter.split(texts[i])) {
      if (piece.token != nullptr)
        continue;
      const std::string normalized = normalizer(piece.text).text;
      for_each_bert_word(normalized, [&](std::string_view word) { ++counts[std::string(word)]; });
    }
  }
  std::erase_if(counts, [](const auto& word) {
    return unicode::decode(word.first).size() >
           static_cast<std::size_t>(wordpiece{}.max_characters);
  });
  return counts;
}

// Merges pairs of neighbouring pieces. A piece is the index of its token.
class piece_merger {
 public:
  explicit piece_merger(std::vector<std::string>& tokens) : tokens_(tokens) {
    for (std::size_t i = 0; i < tokens.size(); ++i)
      ids_[tokens[i]] = static_cast<std::int32_t>(i);
  }

  // Words with a character that is no token take no part: they will be unknown anyway.
  void add_word(std::string_view word, index_t count) {
    std::vector<std::int32_t> pieces;
    std::string token;
    for (const char32_t c : unicode::decode(word)) {
      token = pieces.empty() ? "" : "##";
      unicode::append(token, c);
      const auto found = ids_.find(token);
      if (found == ids_.end())
        return;
      pieces.push_back(found->second);
    }
    words_.push_back({std::move(pieces), count});
  }

  void merge_until(std::size_t size, index_t min_count) {
    std::set<pair> seen;
    for (std::size_t w = 0; w < words_.size(); ++w)
      count_pairs(w, seen);
    for (const auto& p : seen)
      queue_.push({uses_[p].count, p});
    while (tokens_.size() < size && !queue_.empty()) {
      const candidate best = queue_.top();
      queue_.pop();
      const index_t count = uses_[best.pieces].count;
      if (count < min_count)
        continue;
      if (count < best.count) {
        queue_.push({count, best.pieces});  // merges of other pairs have used some up
      } else {
        merge(best.pieces);
      }
    }
  }

 private:
  using pair = std::pair<std::int32_t, std::int32_t>;

  struct pair_hash {
    std::size_t operator()(const pair& p) const {
      return std::hash<std::uint64_t>{}((static_cast<std::uint64_t>(p.first) << 32) |
                                        static_cast<std::uint64_t>(p.second));
    }
  };
  struct counted_word {
    std::vector<std::int32_t> pieces;
    index_t count;
  };
  struct use {
    index_t count = 0;
    std::vector<std::size_t> words;  // all that have the pair, and some that had it
  };
  struct candidate {
    index_t count;
    pair pieces;

    // Of equally frequent pairs the one of the older pieces comes first.
    bool operator<(const candidate& other) const {
      return count != other.count ? count < other.count : pieces > other.pieces;
    }
  };

  void count_pairs(std::size_t w, std::set<pair>& seen) {
    const auto& [pieces, count] = words_[w];
    for (std::size_t i = 0; i + 1 < pieces.size(); ++i) {
      const pair p{pieces[i], pieces[i + 1]};
      auto& entry = uses_[p];
      entry.count += count;
      if (entry.words.empty() || entry.words.back() != w)
        entry.words.push_back(w);
      seen.insert(p);
    }
  }

  void merge(const pair& both) {
    const std::string& tail = tokens_[static_cast<std::size_t>(both.second)];
    const std::string whole = tokens_[static_cast<std::size_t>(both.first)] + tail.substr(2);
    const auto [entry, fresh] = ids_.try_emplace(whole, static_cast<std::int32_t>(tokens_.size()));
    const std::int32_t id = entry->second;
    if (fresh)
      tokens_.push_back(whole);

    auto places = std::move(uses_[both].words);
    std::sort(places.begin(), places.end());
    places.erase(std::unique(places.begin(), places.end()), places.end());
    std::set<pair> changed;
    for (const std::size_t w : places) {
      auto& [pieces, count] = words_[w];
      for (std::size_t i = 0; i + 1 < pieces.size(); ++i)
        uses_[{pieces[i], pieces[i + 1]}].count -= count;
      std::vector<std::int32_t> shorter;
      for (std::size_t i = 0; i < pieces.size(); ++i) {
        const bool here = i + 1 < pieces.size() && pair{pieces[i], pieces[i + 1]} == both;
        shorter.push_back(here ? id : pieces[i]);
        if (here)
          ++i;
      }
      pieces = std::move(shorter);
      count_pairs(w, changed);
    }
    for (const auto& p : changed)
      if (p.first == id || p.second == id)
        queue_.push({uses_[p].count, p});
  }

  std::vector<std::string>& tokens_;
  std::unordered_map<std::string, std::int32_t> ids_;
  std::vector<counted_word> words_;
  std::unordered_map<pair, use, pair_hash> uses_;
  std::priority_queue<candidate> queue_;
};

}  // namespace text_detail

inline std::vector<std::string> build_vocabulary(const std::vector<std::string>& texts,
                                                 const vocabulary_options& options) {
  std::vector<std::string> tokens(std::begin(text_detail::bert_specials),
                                  std::end(text_detail::bert_specials));
  if (options.size <= static_cast<index_t>(tokens.size()))
    throw input_error("vocabulary size: expected more than the " + std::to_string(tokens.size()) +
                      " special tokens, found " + std::to_string(options.size));
  const auto size = static_cast<std::size_t>(options.size);
  const auto words = text_detail::count_words(texts, options.normalizer);
  if (words.empty())
    throw input_error("vocabulary: expected texts with words, found none");

  std::map<char32_t, index_t> counts;
  for (const auto& [word, count] : words)
    for (const char32_t c : unicode::decode(word))
      counts[c] += count;
  std::vector<std::pair<index_t, char32_t>> characters;  // the most frequent first
  for (const auto& [c, count] : counts)
    if (count >= options.min_count)
      characters.emplace_back(-count, c);
  std::sort(characters.begin(), characters.end());
  for (const auto& [count, c] : characters) {
    // What is always a word of its own needs no form for within a word.
    const bool alone = text_detail::is_bert_punctuation(c) ||
                       (options.normalizer.handle_chinese_chars && text_detail::is_cjk(c));
    if (tokens.size() + (alone ? 1 : 2) > size)
      break;
    tokens.push_back(unicode::encode({&c, 1}));
    if (!alone)
      tokens.push_back("##" + unicode::encode({&c, 1}));
  }

  text_detail::piece_merger merger(tokens);
  for (const auto& [word, count] : words)
    merger.add_word(word, count);
  merger.merge_until(size, std::max<index_t>(options.min_count, 1));
  return tokens;
}

inline void write_vocabulary(const std::filesystem::path& folder,
                             const std::vector<std::string>& tokens,
                             const bert_normalizer& normalizer) {
  if (!normalizer.clean_text)
    throw input_error("vocabulary: expected clean_text, which vocab.txt implies, found it off");
  std::string lines;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i].empty() || tokens[i].find_first_of("\r\n") != std::string::npos)
      throw input_error("token " + std::to_string(i) + ": expected one line of text, found " +
                        (tokens[i].empty() ? "nothing" : "a line break"));
    lines += tokens[i] + "\n";
  }
  nlohmann::ordered_json config = {
      {"tokenizer_class", "BertTokenizer"},
      {"do_lower_case", normalizer.lowercase},
      {"strip_accents", nullptr},
      {"tokenize_chinese_chars", normalizer.handle_chinese_chars},
      {"pad_token", "[PAD]"},
      {"unk_token", "[UNK]"},
      {"cls_token", "[CLS]"},
      {"sep_token", "[SEP]"},
      {"mask_token", "[MASK]"},
  };
  if (normalizer.strip_accents)
    config["strip_accents"] = *normalizer.strip_accents;
  std::error_code failure;
  std::filesystem::create_directories(folder, failure);
  if (failure)
    throw error(folder.string() + ": expected to make this folder, found: " + failure.message());
  text_detail::write_whole(folder / "vocab.txt", lines);
  text_detail::write_whole(folder / "tokenizer_config.json", config.dump(2) + "\n");
}

}  // namespace graft
