// SPDX-License-Identifier: MIT
// Reading tokenizer.json, the one-file format of Hugging Face's tokenizers.
#pragma once

#include <graft/core/error.hpp>
#include <graft/text/json.hpp>
#include <graft/text/tokenizer_parts.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace graft::text_detail {

inline token_table read_vocabulary(const json_place& vocab) {
  token_table table;
  for (const auto& [token, id] : vocab.object().items())
    table.insert(token, vocab.element(id, token).count());
  if (table.size() == 0)
    vocab.fail("at least one token");
  return table;
}

// A key whose other values would change the ids.
inline void refuse_unless_null(const json_place& place, const char* key) {
  if (const auto found = place.find(key))
    found->fail("null (all that graft supports)");
}

inline std::string type_of(const json_place& place) { return place.at("type").string(); }

inline void expect_type(const json_place& place, const char* type) {
  if (type_of(place) != type)
    place.at("type").fail("\"" + std::string(type) + "\"");
}

inline bert_normalizer read_bert_normalizer(const json_place& root) {
  bert_normalizer options;
  const auto place = root.find("normalizer");
  if (!place)
    return {false, false, false, false};
  expect_type(*place, "BertNormalizer");
  const auto flag = [&](const char* key, auto& value) {
    if (const auto found = place->find(key))
      value = found->boolean();
  };
  flag("clean_text", options.clean_text);
  flag("handle_chinese_chars", options.handle_chinese_chars);
  flag("strip_accents", options.strip_accents);
  flag("lowercase", options.lowercase);
  return options;
}

inline wordpiece read_wordpiece(const json_place& root, const json_place& model,
                                const tokenizer_settings& settings) {
  expect_type(root.at("pre_tokenizer"), "BertPreTokenizer");
  wordpiece out;
  out.tokens = read_vocabulary(model.at("vocab"));
  out.normalizer = read_bert_normalizer(root);
  const auto kind = settings.option("tokenizer_class");
  if (kind && kind->string().starts_with("BertTokenizer"))
    out.normalizer = bert_options(settings, out.normalizer);
  const auto unknown = model.at("unk_token");
  out.unknown = out.tokens.id(unknown.string());
  if (out.unknown == no_token)
    unknown.fail("a token of the vocabulary");
  if (const auto prefix = model.find("continuing_subword_prefix"))
    out.continuation = prefix->string();
  if (const auto limit = model.find("max_input_chars_per_word"))
    out.max_characters = limit->count();
  return out;
}

// "left right", or ["left", "right"] as newer files have it.
inline std::pair<std::string, std::string> read_merge(const json_place& place) {
  if (place.value->is_array()) {
    if (place.value->size() != 2)
      place.fail("two tokens");
    return {place.element((*place.value)[0], "0").string(),
            place.element((*place.value)[1], "1").string()};
  }
  const std::string& text = place.string();
  const auto blank = text.find(' ');
  if (blank == std::string::npos || text.find(' ', blank + 1) != std::string::npos)
    place.fail("two tokens with a blank between");
  return {text.substr(0, blank), text.substr(blank + 1)};
}

inline byte_bpe read_byte_bpe(const json_place& root, const json_place& model) {
  const auto split = root.at("pre_tokenizer");
  expect_type(split, "ByteLevel");
  refuse_unless_null(root, "normalizer");
  refuse_unless_null(model, "dropout");
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"})
    if (const auto affix = model.find(key); affix && !affix->string().empty())
      affix->fail("null or \"\"");
  for (const char* key : {"byte_fallback", "ignore_merges"})
    if (const auto flag = model.find(key); flag && flag->boolean())
      flag->fail("false");
  if (const auto regex = split.find("use_regex"); regex && !regex->boolean())
    regex->fail("true");

  const auto merges_at = model.at("merges");
  std::vector<std::pair<std::string, std::string>> merges;
  for (const auto& entry : merges_at.array())
    merges.push_back(read_merge(merges_at.element(entry, std::to_string(merges.size()))));
  try {
    byte_bpe out(read_vocabulary(model.at("vocab")), merges);
    out.add_prefix_space = split.at("add_prefix_space").boolean();
    if (const auto unknown = model.find("unk_token")) {
      out.unknown = out.tokens.id(unknown->string());
      if (out.unknown == no_token)
        unknown->fail("a token of the vocabulary");
    }
    return out;
  } catch (const merge_error& failure) {
    merges_at.element(merges_at.array()[failure.rank], std::to_string(failure.rank))
        .fail("tokens of the vocabulary (\"" + failure.token + "\" is none)");
  }
}

inline std::vector<added_token> read_added_tokens(const json_place& root, tokenizer_parts& parts) {
  std::vector<added_token> tokens;
  const auto list = root.find("added_tokens");
  if (!list)
    return tokens;
  token_table& table = table_of(parts);
  for (const auto& entry : list->array()) {
    const auto place = list->element(entry, std::to_string(tokens.size()));
    added_token token = read_added_token(place);
    token.id = place.at("id").count();
    const std::int32_t known = table.id(token.content);
    if (known != no_token && known != token.id)
      place.at("id").fail("the vocabulary's " + std::to_string(known));
    table.insert(token.content, token.id);
    tokens.push_back(std::move(token));
  }
  return tokens;
}

inline std::int32_t known_id(const json_place& place, const tokenizer_parts& parts) {
  const std::int32_t id = place.count();
  const bool known =
      std::visit([&](const auto& m) { return m.tokens.text(id) != nullptr; }, parts.model);
  if (!known)
    place.fail("the id of a token");
  return id;
}

inline sequence_template read_template(const json_place& processor, const char* which,
                                       const tokenizer_parts& parts) {
  const auto list = processor.at(which);
  const bool pair = std::string_view(which) == "pair";
  sequence_template items;
  int texts[2] = {0, 0};
  for (const auto& entry : list.array()) {
    const auto place = list.element(entry, std::to_string(items.size()));
    template_item item;
    if (const auto text = place.find("Sequence")) {
      const auto name = text->at("id");
      const bool second = name.string() == "B";
      if (!second && name.string() != "A")
        name.fail("\"A\" or \"B\"");
      ++texts[second ? 1 : 0];
      item.part = second ? template_part::second_text : template_part::first_text;
      item.type = text->at("type_id").count();
    } else {
      const auto special = place.at("SpecialToken");
      item.type = special.at("type_id").count();
      const auto ids = processor.at("special_tokens").at(special.at("id").string()).at("ids");
      for (const auto& id : ids.array())
        item.ids.push_back(known_id(ids.element(id, std::to_string(item.ids.size())), parts));
    }
    items.push_back(std::move(item));
  }
  if (texts[0] != 1 || texts[1] != (pair ? 1 : 0))
    list.fail(pair ? "the texts A and B once each" : "the text A once, and no B");
  return items;
}

// Returns whether the processor says how special tokens frame a text.
inline bool read_post_processor(const json_place& processor, tokenizer_parts& parts) {
  const std::string type = type_of(processor);
  if (type == "ByteLevel")
    return false;  // offsets only
  if (type == "TemplateProcessing") {
    parts.single = read_template(processor, "single", parts);
    parts.pair = read_template(processor, "pair", parts);
    return true;
  }
  if (type == "BertProcessing" || type == "RobertaProcessing") {
    const auto id = [&](const char* key) {
      const auto named = processor.at(key);
      if (named.array().size() != 2)
        named.fail("a token and its id");
      return known_id(named.element((*named.value)[1], "1"), parts);
    };
    set_frame(parts, id("cls"), id("sep"), type == "RobertaProcessing");
    return true;
  }
  if (type != "Sequence")
    processor.at("type").fail(
        "TemplateProcessing, BertProcessing, RobertaProcessing, ByteLevel or Sequence");
  const auto list = processor.at("processors");
  bool found = false;
  for (std::size_t i = 0; i < list.array().size(); ++i) {
    const auto part = list.element(list.array()[i], std::to_string(i));
    if (found)
      part.fail("no processor after the one that adds tokens");
    if (type_of(part) == "Sequence")
      part.fail("no Sequence within a Sequence");
    found = read_post_processor(part, parts);
  }
  return found;
}

inline tokenizer_parts read_tokenizer_json(const std::filesystem::path& path,
                                           const tokenizer_settings& settings) {
  const json_document file = open_json(path);
  const auto root = file.root();
  const auto model = root.at("model");
  const auto type = model.find("type");
  tokenizer_parts parts;
  // Files of 2020 do not name the type.
  const std::string kind = type ? type->string() : model.find("merges") ? "BPE" : "WordPiece";
  if (kind == "BPE") {
    parts.model = read_byte_bpe(root, model);
  } else if (kind == "WordPiece") {
    parts.model = read_wordpiece(root, model, settings);
  } else {
    type->fail("\"WordPiece\" or \"BPE\"");
  }
  set_added_tokens(parts, read_added_tokens(root, parts));
  find_roles(settings, parts);
  parts.single = {{template_part::first_text, 0, {}}};
  parts.pair = {{template_part::first_text, 0, {}}, {template_part::second_text, 1, {}}};
  if (const auto processor = root.find("post_processor"))
    read_post_processor(*processor, parts);
  return parts;
}

}  // namespace graft::text_detail
