// SPDX-License-Identifier: MIT
// Augmenting training texts: steps that delete, swap, mask and replace words, one after another.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/random.hpp>
#include <graft/text/synonyms.hpp>
#include <graft/text/unicode.hpp>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

namespace graft {

// The steps. A word is a maximal run without white space; the white space between words stays.
// `share` is at least 0 and at most 1. Deletion, swaps and synonyms are those of Wei & Zou 2019
// (EDA, arXiv:1901.11196), where n = max(1, ⌊share · words⌋), and 0 when share is 0.

// Deletes each word with probability `share`, and the white space before it, or behind it at the
// front of the text. Of a text that would lose all its words, a random one stays.
struct random_deletion {
  double share = 0.1;
  static constexpr std::string_view name = "delete";
};

// Swaps two random words, n times. One word alone stays.
struct random_swap {
  double share = 0.1;
  static constexpr std::string_view name = "swap";
};

// Puts `mask` in the place of each word with probability `share`. `mask` is a word that the
// tokenizer knows as its mask: BERT's is [MASK], RoBERTa's <mask>.
struct word_masking {
  double share = 0.15;
  std::string mask = "[MASK]";
  static constexpr std::string_view name = "mask";
};

// Replaces n random words among those that the table has (all, when they are fewer than n), each by
// a random one of its synonyms. A word is looked up in lower case: as it stands, else without the
// punctuation around it, which then stays. The synonym of a word with a capital gets one.
struct synonym_replacement {
  double share = 0.1;
  std::shared_ptr<const synonym_table> table{};
  static constexpr std::string_view name = "synonyms";
};

using augmentation = std::variant<random_deletion, random_swap, word_masking, synonym_replacement>;

// The step that a text says: "delete:0.1", "swap:0.1", "mask:0.15", "mask:0.15:<mask>" or
// "synonyms:FILE:0.1", whose file is read. Throws input_error for any other text.
inline augmentation parse_augmentation(std::string_view text);

// The text that parse_augmentation reads.
inline std::string to_string(const augmentation& step);

// The text after all steps, each of which acts on what the one before it left. It depends on the
// text, the steps and the state of `random` alone. Throws input_error for a text that is not UTF-8,
// and for a step with a share outside 0 to 1, without a table, or with a mask that is no word.
inline std::string augment(std::string_view text, std::span<const augmentation> steps,
                           random_stream& random);

// The stream for an example in an epoch: the same whatever is drawn for other examples, and none of
// those that the same seed gives to weights, data order, hidden tokens and dropout.
inline random_stream augmentation_stream(std::uint64_t seed, std::uint64_t epoch,
                                         std::uint64_t example) {
  return random_stream(mix(seed ^ hash_of("augmentation")), mix(epoch) + example);
}

namespace text_detail {

// gaps[i] is the white space before word i, the last gap that behind the last word.
struct split_text {
  std::vector<std::string> words;
  std::vector<std::string> gaps;
};

inline split_text split_words(std::string_view text) {
  split_text split{{}, {""}};
  bool in_word = false;
  for (std::size_t at = 0; at < text.size();) {
    const auto front = unicode::decode_front(text.substr(at));
    if (front.length == 0)
      throw input_error("augment: byte " + std::to_string(at) +
                        ": expected UTF-8, found an invalid sequence");
    const bool space = unicode::is_space(front.point);
    if (!space && !in_word)
      split.words.emplace_back();
    if (space && in_word)
      split.gaps.emplace_back();
    in_word = !space;
    const auto length = static_cast<std::size_t>(front.length);
    (space ? split.gaps : split.words).back() += text.substr(at, length);
    at += length;
  }
  if (in_word)
    split.gaps.emplace_back();
  return split;
}

inline std::string join_words(const split_text& split) {
  std::string text;
  for (std::size_t i = 0; i < split.words.size(); ++i)
    text += split.gaps[i] + split.words[i];
  return text + split.gaps.back();
}

// EDA's n.
inline std::size_t words_of_share(double share, std::size_t words) {
  if (share == 0 || words == 0)
    return 0;
  return std::max<std::size_t>(1, static_cast<std::size_t>(share * static_cast<double>(words)));
}

inline void act(const random_deletion& step, split_text& split, random_stream& random) {
  const std::size_t n = split.words.size();
  std::vector<std::size_t> kept;
  for (std::size_t i = 0; i < n; ++i)
    if (random.uniform() >= step.share)
      kept.push_back(i);
  if (kept.empty() && n > 0)
    kept.push_back(random.below(n));
  split_text left;
  for (const std::size_t i : kept) {
    left.gaps.push_back(split.gaps[left.words.empty() ? 0 : i]);
    left.words.push_back(split.words[i]);
  }
  left.gaps.push_back(split.gaps.back());
  split = std::move(left);
}

inline void act(const random_swap& step, split_text& split, random_stream& random) {
  const std::size_t n = split.words.size();
  if (n < 2)
    return;
  for (std::size_t swaps = words_of_share(step.share, n); swaps > 0; --swaps) {
    const std::size_t a = random.below(n), b = random.below(n - 1);
    std::swap(split.words[a], split.words[b < a ? b : b + 1]);
  }
}

inline void act(const word_masking& step, split_text& split, random_stream& random) {
  if (!is_one_word(step.mask))
    throw input_error("mask: expected a word without white space, found \"" + step.mask + "\"");
  for (std::string& word : split.words)
    if (random.uniform() < step.share)
      word = step.mask;
}

inline void act(const synonym_replacement& step, split_text& split, random_stream& random) {
  if (!step.table)
    throw input_error("synonyms: expected a table, found none");
  std::vector<known_word> known;
  for (std::size_t i = 0; i < split.words.size(); ++i)
    if (auto word = look_up(*step.table, split.words[i], i); word.synonyms)
      known.push_back(std::move(word));
  const std::size_t n = std::min(words_of_share(step.share, split.words.size()), known.size());
  for (std::size_t i = 0; i < n; ++i) {
    std::swap(known[i], known[i + random.below(known.size() - i)]);
    const auto& synonyms = *known[i].synonyms;
    split.words[known[i].place] = known[i].replaced_by(synonyms[random.below(synonyms.size())]);
  }
}

inline std::string share_text(double share) {
  char digits[32];
  return std::string(digits, std::to_chars(digits, digits + sizeof digits, share).ptr);
}

inline bool is_share(double share) { return share >= 0 && share <= 1; }

}  // namespace text_detail

inline std::string augment(std::string_view text, std::span<const augmentation> steps,
                           random_stream& random) {
  std::string now(text);
  for (const augmentation& step : steps)
    std::visit(
        [&](const auto& s) {
          if (!text_detail::is_share(s.share))
            throw input_error(std::string(s.name) + ": expected a share of 0 to 1, found " +
                              text_detail::share_text(s.share));
          text_detail::split_text split = text_detail::split_words(now);
          text_detail::act(s, split, random);
          now = text_detail::join_words(split);
        },
        step);
  return now;
}

inline augmentation parse_augmentation(std::string_view text) {
  const auto fail = [&](const std::string& expected, std::string_view found) {
    throw input_error("augmentation \"" + std::string(text) + "\": expected " + expected +
                      ", found " + (found.empty() ? "nothing" : "\"" + std::string(found) + "\""));
  };
  const auto share_of = [&](std::string_view digits) {
    double share = 0;
    const char* const end = digits.data() + digits.size();
    const auto [stop, failure] = std::from_chars(digits.data(), end, share);
    if (failure != std::errc{} || stop != end || !text_detail::is_share(share))
      fail("a share of 0 to 1", digits);
    return share;
  };
  const auto colon = std::min(text.find(':'), text.size());
  const std::string_view name = text.substr(0, colon);
  const std::string_view rest = text.substr(std::min(colon + 1, text.size()));
  if (name == random_deletion::name)
    return random_deletion{share_of(rest)};
  if (name == random_swap::name)
    return random_swap{share_of(rest)};
  if (name == word_masking::name) {
    const auto end = rest.find(':');
    word_masking step{share_of(rest.substr(0, end))};
    if (end != std::string_view::npos)
      step.mask = rest.substr(end + 1);
    if (unicode::first_invalid_byte(step.mask) >= 0 || !text_detail::is_one_word(step.mask))
      fail("a word without white space as mask", step.mask);
    return step;
  }
  if (name == synonym_replacement::name) {
    const auto end = rest.rfind(':');  // a file's name may have colons
    if (end == std::string_view::npos || end == 0)
      fail("synonyms:FILE:SHARE", text);
    const double share = share_of(rest.substr(end + 1));
    return synonym_replacement{
        share, std::make_shared<synonym_table>(read_synonyms(std::string(rest.substr(0, end))))};
  }
  fail("delete:SHARE, swap:SHARE, mask:SHARE, mask:SHARE:WORD or synonyms:FILE:SHARE", name);
  return {};
}

inline std::string to_string(const augmentation& step) {
  return std::visit(
      [](const auto& s) {
        const std::string name(s.name), share = text_detail::share_text(s.share);
        if constexpr (requires { s.mask; })
          return name + ":" + share + (s.mask == word_masking{}.mask ? "" : ":" + s.mask);
        else if constexpr (requires { s.table; })
          return name + ":" + (s.table ? s.table->source : "") + ":" + share;
        else
          return name + ":" + share;
      },
      step);
}

}  // namespace graft
