// SPDX-License-Identifier: MIT
// The readers of tokenizers and examples against hostile/corpus (see io/hostile.cpp).
#include <graft/text/labelled_words.hpp>
#include <graft/text/questions.hpp>
#include <graft/text/tokenizer.hpp>
#include <graft/text/tsv.hpp>

#include <string>

#include "support/catch.hpp"
#include "support/hostile_corpus.hpp"

namespace graft_test {

TEST_CASE("no tokenizer's file does harm, and what is read of one tokenises") {
  for_each_hostile("tokenizer", [](const std::string& folder) {
    const tokenizer t = tokenizer::load(folder);
    const std::string text = "a ab [MASK] <new> \xC3\xBC";
    for (const std::int32_t id : t.encode(text, text, 32).ids)
      t.token(id);
  });
}

TEST_CASE("files of examples that hold something else are refused by file and line") {
  for_each_hostile("labelled", [](const std::string& file) {
    const auto examples = read_labelled(file);
    const label_set labels(examples);
    for (const auto& e : examples)
      labels.index_of(e, file);
  });
  for_each_hostile("pairs", [](const std::string& file) { read_labelled(file, true); });
  for_each_hostile("scores", [](const std::string& file) {
    for (const auto& e : read_labelled(file))
      score_of(e, file);
  });
  for_each_hostile("words", [](const std::string& file) { read_labelled_words(file); });
  for_each_hostile("questions", [](const std::string& file) { read_questions(file); });
}

}  // namespace graft_test
