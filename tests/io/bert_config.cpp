// SPDX-License-Identifier: MIT
// io/bert_config.hpp
#include <graft/io/bert_config.hpp>
#include <graft/io/json.hpp>

#include <cstdint>
#include <string>
#include <vector>

#include "support/catch.hpp"

namespace {

using namespace graft;
using Catch::Matchers::Contains;
using nlohmann::json;

const json tiny{{"model_type", "bert"},   {"vocab_size", 30},       {"max_position_embeddings", 20},
                {"hidden_size", 16},      {"num_hidden_layers", 3}, {"num_attention_heads", 2},
                {"intermediate_size", 24}};

json changed(const char* key, const json& value) {
  json j = tiny;
  if (value.is_discarded())
    j.erase(key);
  else
    j[key] = value;
  return j;
}

std::string config_refusal(const json& j) {
  try {
    read_bert_config(j, "somewhere/config.json");
  } catch (const checkpoint_error& e) {
    return e.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("a BERT configuration is read with Hugging Face's defaults") {
  const bert_config c = read_bert_config(tiny, "config.json");
  CHECK(c.family == bert_family::bert);
  CHECK(c.vocabulary == 30);
  CHECK(c.positions == 20);
  CHECK(c.width == 16);
  CHECK(c.layers == 3);
  CHECK(c.heads == 2);
  CHECK(c.inner == 24);
  CHECK(c.activation == activation::gelu);
  CHECK(c.hidden_dropout == 0.1);
  CHECK(c.attention_dropout == 0.1);
  CHECK(c.head_dropout == 0.1);
  CHECK(c.token_types == 2);
  CHECK(c.epsilon == 1e-12);
  CHECK(c.first_position == 0);
  CHECK(c.longest() == 20);
}

TEST_CASE("a head's dropout is that of the hidden states where none is given") {
  json j = changed("hidden_dropout_prob", 0.3);
  CHECK(read_bert_config(j, "config.json").head_dropout == 0.3);
  j["classifier_dropout"] = nullptr;
  CHECK(read_bert_config(j, "config.json").head_dropout == 0.3);
  j["classifier_dropout"] = 0.05;
  CHECK(read_bert_config(j, "config.json").head_dropout == 0.05);
}

TEST_CASE("RoBERTa's positions begin after its padding id") {
  json j = changed("model_type", GENERATE("roberta", "xlm-roberta", "camembert"));
  const bert_config c = read_bert_config(j, "config.json");
  CHECK(c.family == bert_family::roberta);
  CHECK(c.first_position == 2);
  CHECK(c.longest() == 18);
  j["pad_token_id"] = 5;
  CHECK(read_bert_config(j, "config.json").first_position == 6);
}

TEST_CASE("RoBERTa-PreLayerNorm is a family of its own, with RoBERTa's positions") {
  json j = changed("model_type", "roberta-prelayernorm");
  const bert_config c = read_bert_config(j, "config.json");
  CHECK(c.family == bert_family::roberta_prelayernorm);
  CHECK(c.padding == 1);
  CHECK(c.first_position == 2);
  CHECK(c.longest() == 18);
  CHECK(c.token_types == 2);
  CHECK(c.epsilon == 1e-12);
  j["pad_token_id"] = 5;
  CHECK(read_bert_config(j, "config.json").first_position == 6);
}

TEST_CASE("a family is refused where a model's layers have the other order of norms") {
  bert_config c = read_bert_config(tiny, "config.json");
  using family = bert_family;
  for (family f : {family::bert, family::roberta, family::distilbert}) {
    c.family = f;
    CHECK_NOTHROW(expect_order(norm_order::after, c, "a/config.json"));
    CHECK_THROWS_AS(expect_order(norm_order::before, c, "a/config.json"), checkpoint_error);
  }
  CHECK_THROWS_WITH(expect_order(norm_order::before, c, "a/config.json"),
                    Contains("a/config.json: \"model_type\": expected roberta-prelayernorm") &&
                        Contains("found \"distilbert\""));
  c.family = family::roberta_prelayernorm;
  CHECK_NOTHROW(expect_order(norm_order::before, c, "a/config.json"));
  CHECK_THROWS_WITH(
      expect_order(norm_order::after, c, "a/config.json"),
      Contains("a/config.json: \"model_type\": expected bert, roberta or distilbert") &&
          Contains("found \"roberta-prelayernorm\""));
}

TEST_CASE("DistilBERT has its own names and no token types") {
  const json j{{"model_type", "distilbert"},
               {"vocab_size", 30},
               {"max_position_embeddings", 20},
               {"dim", 12},
               {"n_layers", 3},
               {"n_heads", 2},
               {"hidden_dim", 20},
               {"activation", "relu"},
               {"dropout", 0.2},
               {"attention_dropout", 0.0},
               {"seq_classif_dropout", 0.4}};
  const bert_config c = read_bert_config(j, "config.json");
  CHECK(c.family == bert_family::distilbert);
  CHECK(c.width == 12);
  CHECK(c.layers == 3);
  CHECK(c.heads == 2);
  CHECK(c.inner == 20);
  CHECK(c.activation == activation::relu);
  CHECK(c.hidden_dropout == 0.2);
  CHECK(c.attention_dropout == 0.0);
  CHECK(c.head_dropout == 0.4);
  CHECK(c.token_types == 0);
}

TEST_CASE("a bad value in a configuration is refused with file, key, expectation and finding") {
  const json absent = json(json::value_t::discarded);
  struct bad {
    const char* key;
    json value;
    const char* found;
  };
  const bad b = GENERATE_COPY(values<bad>({
      {"model_type", "gpt2",
       "expected bert, roberta, distilbert or roberta-prelayernorm, found \"gpt2\""},
      {"model_type", 7, "expected a string"},
      {"vocab_size", absent, "expected a value, found no such key"},
      {"vocab_size", 0, "expected at least 1, found 0"},
      {"hidden_size", -4, "expected at least 1, found -4"},
      {"hidden_size", 16.5, "expected an integer"},
      {"hidden_size", 5000000000, "expected an integer"},
      {"num_hidden_layers", "3", "expected an integer"},
      {"intermediate_size", 0, "expected at least 1, found 0"},
      {"num_attention_heads", 3,
       "expected a number of attention heads that divides the width 16, "
       "found 3"},
      {"hidden_act", "prelu", "found \"prelu\""},
      {"hidden_dropout_prob", 1.0, "expected at least 0 and below 1, found 1.0"},
      {"attention_probs_dropout_prob", -0.1, "expected at least 0 and below 1, found -0.1"},
      {"classifier_dropout", 2, "expected at least 0 and below 1, found 2"},
      {"type_vocab_size", -1, "expected at least 0, found -1"},
      {"pad_token_id", -1, "expected at least 0, found -1"},
      {"layer_norm_eps", 0, "expected more than 0, found 0"},
      {"position_embedding_type", "relative_key", "expected \"absolute\", found \"relative_key\""},
      {"is_decoder", true, "expected false, found true"},
  }));
  INFO(b.key);
  const std::string message = config_refusal(changed(b.key, b.value));
  CHECK_THAT(message, Contains("somewhere/config.json"));
  CHECK_THAT(message, Contains(b.found));
  if (std::string(b.key) != "num_attention_heads")
    CHECK_THAT(message, Contains("\"" + std::string(b.key) + "\""));
}

TEST_CASE("a RoBERTa without room for a token is refused") {
  json j = changed("model_type", "roberta");
  j["max_position_embeddings"] = 2;
  CHECK_THAT(config_refusal(j),
             Contains("\"max_position_embeddings\": expected more than 2, found 2"));
}

TEST_CASE("labels are read in the order of their numbers") {
  const auto labels = [](const json& j) { return read_labels(j, "config.json"); };
  CHECK(labels(json::object()) == std::vector<std::string>{});
  CHECK(labels({{"num_labels", 2}}) == std::vector<std::string>{"LABEL_0", "LABEL_1"});
  json names = json::object();
  for (int i = 0; i < 11; ++i)
    names[std::to_string(i)] = "name " + std::to_string(i);
  const auto eleven = labels({{"id2label", names}});
  REQUIRE(eleven.size() == 11);
  CHECK(eleven[2] == "name 2");
  CHECK(eleven[10] == "name 10");
  names.erase("4");
  CHECK_THROWS_WITH(labels({{"id2label", names}}),
                    Contains("config.json: \"id2label\"") && Contains("found no \"4\""));
}

TEST_CASE("a configuration says what its model was asked") {
  const auto task_of = [](nlohmann::json more) {
    nlohmann::json j = tiny;
    j.erase("architectures");
    j.update(more);
    return read_task(j, "config.json");
  };
  const auto made_for = [&](const char* name, nlohmann::json more = nlohmann::json::object()) {
    more["architectures"] = {name};
    return task_of(more);
  };
  CHECK(task_of(nlohmann::json::object()) == std::nullopt);
  CHECK(made_for("BertModel") == std::nullopt);
  CHECK(made_for("BertForMaskedLM") == std::nullopt);
  CHECK(made_for("BertForSequenceClassification") == task_kind::classification);
  CHECK(made_for("RobertaForTokenClassification") == task_kind::token_classification);
  CHECK(made_for("DistilBertForQuestionAnswering") == task_kind::question_answering);
  CHECK(made_for("BertForSequenceClassification", {{"problem_type", "regression"}}) ==
        task_kind::regression);
  CHECK(made_for("BertForSequenceClassification", {{"id2label", {{"0", "LABEL_0"}}}}) ==
        task_kind::regression);
}

TEST_CASE("a head's dropout is that of its task") {
  nlohmann::json j = tiny;
  j.update({{"hidden_dropout_prob", 0.3}, {"classifier_dropout", 0.25}});
  const auto of_head = [&](task_kind task) {
    return read_bert_config(j, "config.json", task).head_dropout;
  };
  CHECK(of_head(task_kind::classification) == 0.25);
  CHECK(of_head(task_kind::token_classification) == 0.25);
  CHECK(of_head(task_kind::question_answering) == 0);
  j = {{"model_type", "distilbert"}, {"vocab_size", 11}, {"max_position_embeddings", 7},
       {"dim", 8}, {"n_layers", 1}, {"n_heads", 2}, {"hidden_dim", 12}, {"dropout", 0.3}};
  CHECK(of_head(task_kind::classification) == 0.2);
  CHECK(of_head(task_kind::token_classification) == 0.3);
  CHECK(of_head(task_kind::question_answering) == 0.1);
}

TEST_CASE("a configuration that is written reads as itself") {
  bert_config c = read_bert_config(tiny, "config.json");
  c.family = GENERATE(bert_family::bert, bert_family::roberta, bert_family::distilbert,
                      bert_family::roberta_prelayernorm);
  c.activation = GENERATE(activation::gelu, activation::gelu_tanh, activation::relu);
  c.hidden_dropout = 0.2;
  c.attention_dropout = 0.3;
  c.head_dropout = 0.4;
  c.padding = 1;
  c.first_position = like_roberta(c.family) ? 2 : 0;
  c.token_types = c.family == bert_family::distilbert ? 0 : 1;
  if (c.family != bert_family::distilbert)
    c.epsilon = 1e-5;
  const json j = write_bert_config(c, "Some", {"no", "yes"});
  const bert_config again = read_bert_config(j, "config.json");
  CHECK(again.family == c.family);
  CHECK(again.vocabulary == c.vocabulary);
  CHECK(again.positions == c.positions);
  CHECK(again.width == c.width);
  CHECK(again.layers == c.layers);
  CHECK(again.heads == c.heads);
  CHECK(again.inner == c.inner);
  CHECK(again.activation == c.activation);
  CHECK(again.hidden_dropout == c.hidden_dropout);
  CHECK(again.attention_dropout == c.attention_dropout);
  CHECK(again.head_dropout == c.head_dropout);
  CHECK(again.padding == c.padding);
  CHECK(again.first_position == c.first_position);
  CHECK(again.token_types == c.token_types);
  CHECK(again.epsilon == c.epsilon);
  CHECK(read_labels(j, "config.json") == std::vector<std::string>{"no", "yes"});
  CHECK(j["architectures"] == json::array({"Some"}));
}
