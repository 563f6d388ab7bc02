// SPDX-License-Identifier: MIT
// Questions with their contexts as inputs of a model, and answers as rows of such inputs.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/view.hpp>
#include <graft/text/placed_text.hpp>
#include <graft/text/questions.hpp>
#include <graft/text/sequence_template.hpp>
#include <graft/text/token_places.hpp>
#include <graft/text/tokenizer.hpp>
#include <graft/text/unicode.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace graft {

// A context too long for one input is cut into windows of at most `max_length` ids, question and
// special tokens included; neighbours share `overlap` tokens of the context (what Hugging Face's
// tokenizers call stride).
struct window_options {
  index_t max_length = 384;
  index_t overlap = 128;
};

// A model's input: a question and a part of its context, framed as a pair of texts. Row i of the
// context_rows rows from context_row on is the token context_token + i of the whole context. The
// answer's first and last token stand in the rows answer_first and answer_last; both are 0, the
// first special token's, where the window does not have the whole answer.
struct question_window {
  std::vector<std::int32_t> ids;
  std::vector<std::int32_t> types;
  std::int32_t answer_first = 0;
  std::int32_t answer_last = 0;
  std::int32_t context_row = 0;
  std::int32_t context_rows = 0;
  std::int32_t context_token = 0;
};

// The windows of a question from the front of the context to its end, and where in the context each
// of its tokens stands.
struct question_windows {
  std::vector<question_window> windows;
  std::vector<byte_range> places;
  std::int32_t answer_first = -1, answer_last = -1;  // tokens of the context; -1: no answer
};

// The question is never cut; white space before it is left out. The answer's tokens are those that
// have bytes of it. Windows are those of Hugging Face's tokenizers with truncation="only_second"
// and return_overflowing_tokens. Throws input_error, naming the question's id, when a text is not
// UTF-8 or the question leaves no room for more than `overlap` tokens of a longer context, and when
// `overlap` is negative.
inline question_windows cut_windows(const tokenizer& t, const question& q,
                                    const window_options& options = {});

// The bytes of the context from token `first` to token `last`. Throws input_error unless
// 0 <= first <= last < the number of places.
inline std::string answer_text(const question& q, std::span<const byte_range> places, index_t first,
                               index_t last) {
  if (first < 0 || first > last || last >= static_cast<index_t>(places.size()))
    throw input_error("question \"" + q.id + "\": expected tokens among " +
                      std::to_string(places.size()) + " of its context, found " +
                      std::to_string(first) + " to " + std::to_string(last));
  const index_t from = places[static_cast<std::size_t>(first)].first;
  const index_t to = places[static_cast<std::size_t>(last)].end;
  return q.context.substr(static_cast<std::size_t>(from), static_cast<std::size_t>(to - from));
}

namespace text_detail {

inline std::string_view without_leading_space(std::string_view text) {
  while (!text.empty()) {
    const auto front = unicode::decode_front(text);
    if (front.length == 0 || !unicode::is_space(front.point))
      break;
    text.remove_prefix(static_cast<std::size_t>(front.length));
  }
  return text;
}

// The tokens that have bytes of the answer, as a range; empty where it has no tokens.
inline byte_range tokens_of_answer(const question& q, std::span<const byte_range> places) {
  const auto first = std::find_if(places.begin(), places.end(), [&](const byte_range& place) {
    return place.end > q.answer_first;
  });
  const auto end = std::find_if(
      first, places.end(), [&](const byte_range& place) { return place.first >= q.answer_end; });
  return {first - places.begin(), end - places.begin()};
}

// What `t` makes of a text of the question.
inline std::vector<placed_token> tokens_of(const tokenizer& t, const question& q, const char* what,
                                           std::string_view text) {
  if (const index_t at = unicode::first_invalid_byte(text); at >= 0)
    throw input_error("question \"" + q.id + "\", " + what + ": byte " + std::to_string(at) +
                      ": expected UTF-8, found an invalid sequence");
  return placed_tokens(t, text);
}

}  // namespace text_detail

inline question_windows cut_windows(const tokenizer& t, const question& q,
                                    const window_options& options) {
  const auto asked =
      ids_of(text_detail::tokens_of(t, q, "text", text_detail::without_leading_space(q.text)));
  const auto context = text_detail::tokens_of(t, q, "context", q.context);
  const auto ids = ids_of(context);
  const auto size = static_cast<index_t>(ids.size());
  const auto question_size = static_cast<index_t>(asked.size());
  const index_t room = room_for_text(t.parts.pair, options.max_length) - question_size;
  if (options.overlap < 0)
    throw input_error("overlap of windows: expected at least 0, found " +
                      std::to_string(options.overlap));
  if (size > room && room <= options.overlap)
    throw input_error("question \"" + q.id + "\": expected room for more than " +
                      std::to_string(options.overlap) + " tokens of its context among " +
                      std::to_string(options.max_length) + ", found room for " +
                      std::to_string(std::max<index_t>(room, 0)) + " beside the question's " +
                      std::to_string(question_size));

  question_windows out;
  for (const placed_token& token : context)
    out.places.push_back({token.first, token.end});
  const byte_range answer =
      q.answer_first < 0 ? byte_range{} : text_detail::tokens_of_answer(q, out.places);
  if (answer.first < answer.end) {
    out.answer_first = static_cast<std::int32_t>(answer.first);
    out.answer_last = static_cast<std::int32_t>(answer.end - 1);
  }
  for (index_t from = 0, end = 0; out.windows.empty() || end < size; from = end - options.overlap) {
    end = std::min(from + room, size);
    const index_t kept = end - from;
    const std::vector<std::int32_t> part(ids.begin() + from, ids.begin() + end);
    auto framed = arrange(t.parts.pair, asked, question_size, part, kept);
    const index_t row = row_of(t.parts.pair, template_part::second_text, question_size, kept);
    auto& window = out.windows.emplace_back();
    window.ids = std::move(framed.ids);
    window.types = std::move(framed.types);
    if (answer.first < answer.end && answer.first >= from && answer.end <= end) {
      window.answer_first = static_cast<std::int32_t>(row + answer.first - from);
      window.answer_last = static_cast<std::int32_t>(row + answer.end - 1 - from);
    }
    window.context_row = static_cast<std::int32_t>(row);
    window.context_rows = static_cast<std::int32_t>(kept);
    window.context_token = static_cast<std::int32_t>(from);
  }
  return out;
}

}  // namespace graft
