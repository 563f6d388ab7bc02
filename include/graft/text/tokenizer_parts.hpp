// SPDX-License-Identifier: MIT
// What a tokenizer is made of, and how the settings of a checkpoint folder complete it.
#pragma once

#include <graft/core/error.hpp>
#include <graft/text/added_tokens.hpp>
#include <graft/text/byte_bpe.hpp>
#include <graft/text/files.hpp>
#include <graft/text/json.hpp>
#include <graft/text/sequence_template.hpp>
#include <graft/text/token_table.hpp>
#include <graft/text/wordpiece.hpp>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace graft {

// Ids of the tokens with a role; no_token for a role that nothing has.
struct special_tokens {
  std::int32_t pad = no_token;
  std::int32_t unk = no_token;
  std::int32_t cls = no_token;
  std::int32_t sep = no_token;
  std::int32_t mask = no_token;
};

// All that a tokenizer is made of.
struct tokenizer_parts {
  std::variant<wordpiece, byte_bpe> model;
  added_tokens in_raw_text;
  added_tokens in_normalized_text;
  sequence_template single;
  sequence_template pair;
  special_tokens special;
};

namespace text_detail {

inline token_table& table_of(tokenizer_parts& parts) {
  return std::visit([](auto& model) -> token_table& { return model.tokens; }, parts.model);
}

// The optional files beside the vocabulary.
struct tokenizer_settings {
  std::optional<json_document> config;
  std::optional<json_document> special;

  explicit tokenizer_settings(const std::filesystem::path& folder) {
    if (is_plain_file(folder / "tokenizer_config.json"))
      config = open_json(folder / "tokenizer_config.json");
    if (is_plain_file(folder / "special_tokens_map.json"))
      special = open_json(folder / "special_tokens_map.json");
  }

  std::optional<json_place> option(const std::string& key) const {
    return config ? config->root().find(key) : std::nullopt;
  }

  std::optional<json_place> token(const std::string& key) const {
    if (auto found = option(key))
      return found;
    return special ? special->root().find(key) : std::nullopt;
  }
};

// An entry of added_tokens, or a token's name alone.
inline added_token read_added_token(const json_place& place, added_token token = {}) {
  if (place.value->is_string()) {
    token.content = place.string();
  } else {
    token.content = place.at("content").string();
    const auto flag = [&](const char* key, bool& value) {
      if (const auto found = place.find(key))
        value = found->boolean();
    };
    flag("single_word", token.single_word);
    flag("lstrip", token.lstrip);
    flag("rstrip", token.rstrip);
    flag("normalized", token.normalized);
  }
  if (token.content.empty())
    place.fail("a token with content");
  return token;
}

struct role {
  const char* key;
  std::int32_t special_tokens::*id;
  const char* bert_name;
  const char* roberta_name;
};

inline constexpr role roles[] = {
    {"pad_token", &special_tokens::pad, "[PAD]", "<pad>"},
    {"unk_token", &special_tokens::unk, "[UNK]", "<unk>"},
    {"cls_token", &special_tokens::cls, "[CLS]", "<s>"},
    {"sep_token", &special_tokens::sep, "[SEP]", "</s>"},
    {"mask_token", &special_tokens::mask, "[MASK]", "<mask>"},
};

// Finds the tokens of each role and returns them as added tokens.
inline std::vector<added_token> find_roles(const tokenizer_settings& settings,
                                           tokenizer_parts& parts) {
  const bool bert = std::holds_alternative<wordpiece>(parts.model);
  std::vector<added_token> found;
  for (const auto& [key, id, bert_name, roberta_name] : roles) {
    added_token token;
    token.content = bert ? bert_name : roberta_name;
    token.lstrip = !bert && id == &special_tokens::mask;
    if (const auto named = settings.token(key))
      token = read_added_token(*named, token);
    token.id = table_of(parts).id(token.content);
    parts.special.*id = token.id;
    if (token.id != no_token)
      found.push_back(std::move(token));
  }
  return found;
}

inline void set_added_tokens(tokenizer_parts& parts, const std::vector<added_token>& tokens) {
  std::vector<added_token> raw, normalized;
  for (added_token token : tokens) {
    if (!token.normalized) {
      raw.push_back(std::move(token));
      continue;
    }
    token.content =
        std::visit([&](const auto& m) { return m.normalized(token.content).text; }, parts.model);
    if (!token.content.empty())
      normalized.push_back(std::move(token));
  }
  parts.in_raw_text = added_tokens(std::move(raw));
  parts.in_normalized_text = added_tokens(std::move(normalized));
}

// [CLS] A [SEP] B [SEP] with types 0 and 1, or <s> A </s></s> B </s> with type 0 throughout.
inline void set_frame(tokenizer_parts& parts, std::int32_t cls, std::int32_t sep, bool roberta) {
  const std::int32_t second = roberta ? 0 : 1;
  const template_item begin{template_part::special, 0, {cls}},
      end{template_part::special, 0, {sep}};
  const template_item a{template_part::first_text, 0, {}};
  parts.single = {begin, a, end};
  parts.pair = {begin, a, end};
  if (roberta)
    parts.pair.push_back(end);
  parts.pair.push_back({template_part::second_text, second, {}});
  parts.pair.push_back({template_part::special, second, {sep}});
}

inline bert_normalizer bert_options(const tokenizer_settings& settings, bert_normalizer options) {
  if (const auto lower = settings.option("do_lower_case"))
    options.lowercase = lower->boolean();
  if (const auto strip = settings.option("strip_accents"))
    options.strip_accents = strip->boolean();
  if (const auto cjk = settings.option("tokenize_chinese_chars"))
    options.handle_chinese_chars = cjk->boolean();
  return options;
}

}  // namespace text_detail
}  // namespace graft
