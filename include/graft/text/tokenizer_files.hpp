// SPDX-License-Identifier: MIT
// Reading a tokenizer from the files of a Hugging Face checkpoint folder.
#pragma once

#include <graft/core/error.hpp>
#include <graft/text/files.hpp>
#include <graft/text/json.hpp>
#include <graft/text/lines.hpp>
#include <graft/text/tokenizer_json.hpp>
#include <graft/text/tokenizer_parts.hpp>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace graft {

// Reads tokenizer.json; where there is none vocab.txt (WordPiece); else vocab.json and merges.txt
// (byte-level BPE). tokenizer_config.json and special_tokens_map.json beside them name the special
// tokens; BERT's options in tokenizer_config.json (do_lower_case, strip_accents,
// tokenize_chinese_chars) win over tokenizer.json where it names a BertTokenizer, as in
// transformers. The padding and truncation of tokenizer.json are not used. Throws checkpoint_error.
inline tokenizer_parts read_tokenizer(const std::filesystem::path& folder);

namespace text_detail {

// added_tokens_decoder of tokenizer_config.json ({"id": {token}}) and added_tokens.json
// ({"token": id}), with the tokens of the roles where neither lists them.
inline std::vector<added_token> read_listed_tokens(const std::filesystem::path& folder,
                                                   const tokenizer_settings& settings,
                                                   tokenizer_parts& parts) {
  std::vector<added_token> tokens;
  const auto add = [&](const json_place& place, added_token token) {
    token_table& table = table_of(parts);
    const std::int32_t known = table.id(token.content);
    if (known != no_token && known != token.id)
      place.fail("the token \"" + token.content + "\" with the vocabulary's id " +
                 std::to_string(known));
    table.insert(token.content, token.id);
    const auto same = [&](const added_token& t) { return t.content == token.content; };
    if (std::none_of(tokens.begin(), tokens.end(), same))
      tokens.push_back(std::move(token));
  };
  if (const auto list = settings.option("added_tokens_decoder")) {
    for (const auto& [name, entry] : list->object().items()) {
      const auto place = list->element(entry, name);
      added_token token = read_added_token(place);
      const auto [end, failure] = std::from_chars(name.data(), name.data() + name.size(), token.id);
      if (failure != std::errc{} || end != name.data() + name.size() || token.id < 0)
        place.fail("a token id as key");
      add(place, std::move(token));
    }
  }
  if (is_plain_file(folder / "added_tokens.json")) {
    const json_document file = open_json(folder / "added_tokens.json");
    const auto root = file.root();
    for (const auto& [content, id] : root.object().items()) {
      const auto place = root.element(id, content);
      added_token token;
      token.content = content;
      token.id = place.count();
      token.normalized = true;
      if (content.empty())
        place.fail("a token with content");
      add(place, std::move(token));
    }
  }
  for (added_token& token : find_roles(settings, parts)) {
    const auto same = [&](const added_token& t) { return t.content == token.content; };
    if (std::none_of(tokens.begin(), tokens.end(), same))
      tokens.push_back(std::move(token));
  }
  return tokens;
}

// A role that the frame of a text needs.
inline std::int32_t needed(const std::filesystem::path& path, std::int32_t id, const char* role) {
  if (id == no_token)
    throw checkpoint_error(path.string() + ": expected the " + role +
                           " (see tokenizer_config.json), found no such token");
  return id;
}

inline tokenizer_parts read_vocab_txt(const std::filesystem::path& folder,
                                      const tokenizer_settings& settings) {
  const auto path = folder / "vocab.txt";
  wordpiece model;
  for_each_line<checkpoint_error>(path, [&](std::string_view line, index_t number) {
    model.tokens.insert(line, static_cast<std::int32_t>(number - 1));
  });
  model.normalizer = bert_options(settings, {});
  tokenizer_parts parts;
  parts.model = std::move(model);
  set_added_tokens(parts, read_listed_tokens(folder, settings, parts));
  std::get<wordpiece>(parts.model).unknown = needed(path, parts.special.unk, "unk_token");
  set_frame(parts, needed(path, parts.special.cls, "cls_token"),
            needed(path, parts.special.sep, "sep_token"), false);
  return parts;
}

inline tokenizer_parts read_vocab_and_merges(const std::filesystem::path& folder,
                                             const tokenizer_settings& settings) {
  const auto path = folder / "vocab.json";
  const auto merges_path = folder / "merges.txt";
  const json_document vocab = open_json(path);
  std::vector<std::pair<std::string, std::string>> merges;
  std::vector<index_t> lines;
  for_each_line<checkpoint_error>(merges_path, [&](std::string_view line, index_t number) {
    if (line.starts_with("#version"))
      return;
    const auto blank = line.find(' ');
    if (blank == line.npos || line.find(' ', blank + 1) != line.npos)
      throw checkpoint_error(merges_path.string() + ":" + std::to_string(number) +
                             ": expected two tokens with a blank between, found another line");
    merges.emplace_back(line.substr(0, blank), line.substr(blank + 1));
    lines.push_back(number);
  });
  tokenizer_parts parts;
  try {
    byte_bpe model(read_vocabulary(vocab.root()), merges);
    if (const auto prefix = settings.option("add_prefix_space"))
      model.add_prefix_space = prefix->boolean();
    parts.model = std::move(model);
  } catch (const merge_error& failure) {
    throw checkpoint_error(merges_path.string() + ":" + std::to_string(lines[failure.rank]) +
                           ": expected tokens of vocab.json, found \"" + failure.token + "\"");
  }
  set_added_tokens(parts, read_listed_tokens(folder, settings, parts));
  set_frame(parts, needed(path, parts.special.cls, "cls_token"),
            needed(path, parts.special.sep, "sep_token"), true);
  return parts;
}

}  // namespace text_detail

inline tokenizer_parts read_tokenizer(const std::filesystem::path& folder) {
  const auto has = [&](const char* name) { return text_detail::is_plain_file(folder / name); };
  const bool json = has("tokenizer.json"), txt = has("vocab.txt");
  if (!json && !txt && !(has("vocab.json") && has("merges.txt")))
    throw checkpoint_error(folder.string() +
                           ": expected tokenizer.json, vocab.txt, or vocab.json and merges.txt, "
                           "found none of them");
  const text_detail::tokenizer_settings settings(folder);
  if (json)
    return text_detail::read_tokenizer_json(folder / "tokenizer.json", settings);
  if (txt)
    return text_detail::read_vocab_txt(folder, settings);
  return text_detail::read_vocab_and_merges(folder, settings);
}

}  // namespace graft
