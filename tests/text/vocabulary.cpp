// SPDX-License-Identifier: MIT
#include "support/catch.hpp"
#include "support/scratch_folder.hpp"

#include <graft/text/tokenizer.hpp>
#include <graft/text/vocabulary.hpp>

#include <chrono>
#include <filesystem>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace {

using graft_test::scratch_folder;

using token_list = std::vector<std::string>;

graft::vocabulary_options of_size(graft::index_t size, graft::index_t min_count = 2) {
  graft::vocabulary_options options;
  options.size = size;
  options.min_count = min_count;
  return options;
}

}  // namespace

TEST_CASE("special tokens come first, then characters by frequency, then merges") {
  CHECK(graft::build_vocabulary({"aab aab, aab", "B, x"}, of_size(100)) ==
        token_list{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##a", "b", "##b", ",", "aa",
                   "aab"});
}

TEST_CASE("the most frequent pair is merged first and the size is kept") {
  const token_list texts = {"hug hug hug pug pug pun bun hugs"};
  const auto all = graft::build_vocabulary(texts, of_size(200, 1));
  const auto merged = std::find(all.begin(), all.end(), "##ug");
  REQUIRE(merged != all.end());
  CHECK(merged[1] == "hug");  // 4 times, as often as any pair that is left
  for (graft::index_t size = 6; size <= static_cast<graft::index_t>(all.size()); ++size) {
    const auto some = graft::build_vocabulary(texts, of_size(size, 1));
    CHECK(static_cast<graft::index_t>(some.size()) <= size);
    CHECK(std::set<std::string>(some.begin(), some.end()).size() == some.size());
  }
}

TEST_CASE("texts are normalised as the tokenizer will do it") {
  const auto tokens = graft::build_vocabulary({"É é [MASK] 中中"}, of_size(50));
  const std::set<std::string> found(tokens.begin() + 5, tokens.end());
  CHECK(found == std::set<std::string>{"e", "##e", "中"});
  auto cased = of_size(50);
  cased.normalizer.lowercase = false;
  const auto kept = graft::build_vocabulary({"É É"}, cased);
  CHECK(std::find(kept.begin(), kept.end(), "É") != kept.end());
}

TEST_CASE("a written vocabulary opens as a tokenizer that spells every training word") {
  const token_list texts = {"the film is a gripping film", "the plot is thin; the jokes thinner",
                            "Naïve résumé, 中文 text", "don't $ ^"};
  const auto tokens = graft::build_vocabulary(texts, of_size(120, 1));
  scratch_folder folder;
  graft::write_vocabulary(folder.path / "inner", tokens);
  const auto tokenizer = graft::tokenizer::load((folder.path / "inner").string());
  CHECK(tokenizer.vocabulary_size() == static_cast<graft::index_t>(tokens.size()));
  for (const auto& text : texts)
    for (const auto id : tokenizer.tokenize(text))
      CHECK(id != tokenizer.unk_id());
  CHECK(tokenizer.tokenize("film").size() == 1);
  CHECK(tokenizer.tokenize("RÉSUMÉ") == tokenizer.tokenize("resume"));

  graft::bert_normalizer cased;
  cased.lowercase = false;
  cased.strip_accents = true;
  cased.handle_chinese_chars = false;
  graft::write_vocabulary(folder.path, tokens, cased);
  const auto reopened = graft::tokenizer::load(folder.path.string());
  const auto& options = std::get<graft::wordpiece>(reopened.parts.model).normalizer;
  CHECK_FALSE(options.lowercase);
  CHECK(options.strip_accents == true);
  CHECK_FALSE(options.handle_chinese_chars);
  for (const auto& entry : std::filesystem::directory_iterator(folder.path))
    CHECK(entry.path().extension() != ".tmp");
}

TEST_CASE("what cannot become a vocabulary is refused") {
  CHECK_THROWS_WITH(graft::build_vocabulary({"a"}, of_size(5)), Catch::Contains("more than the 5"));
  CHECK_THROWS_WITH(graft::build_vocabulary({" ", ""}), Catch::Contains("found none"));
  CHECK_THROWS_WITH(graft::build_vocabulary({"fine", "b\xFFx"}),
                    Catch::Contains("text 2: byte 1: expected UTF-8"));
  const scratch_folder folder;
  const auto inner = folder.path / "inner";
  CHECK_THROWS_AS(graft::write_vocabulary(inner, {"a\nb"}), graft::input_error);
  CHECK_THROWS_AS(graft::write_vocabulary(inner, {""}), graft::input_error);
  CHECK_THROWS_AS(graft::write_vocabulary(inner, {"a"}, {false, true, {}, true}),
                  graft::input_error);
  CHECK_FALSE(std::filesystem::exists(inner));
}

TEST_CASE("fifty thousand short texts take seconds and give the same vocabulary again") {
  std::mt19937 random(3);
  token_list words;
  for (int i = 0; i < 20'000; ++i) {
    std::string word;
    for (auto n = 2 + random() % 9; n > 0; --n)
      word += static_cast<char>('a' + std::min(random() % 26, random() % 26));
    words.push_back(word);
  }
  token_list texts(50'000);
  for (auto& text : texts)
    for (int i = 0; i < 10; ++i)
      text += words[random() % (1 + random() % words.size())] + " ";
  const auto begin = std::chrono::steady_clock::now();
  const auto tokens = graft::build_vocabulary(texts, of_size(4000));
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  CHECK(tokens.size() == 4000);
  INFO("took " << took.count() << " s");
  CHECK(took.count() < 30);
  texts.resize(5'000);
  CHECK(graft::build_vocabulary(texts, of_size(600)) ==
        graft::build_vocabulary(texts, of_size(600)));
}
