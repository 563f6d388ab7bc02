// SPDX-License-Identifier: MIT
// AdapterHub's folders: read, put into models, written again.
#include <graft/io/adapterhub.hpp>
#include <graft/io/json.hpp>
#include <graft/io/put_adapter.hpp>
#include <graft/tuning/composition.hpp>
#include <graft/tuning/strategies.hpp>

#include <cstdlib>
#include <string>

#include "support/adapter_places.hpp"
#include "support/catch.hpp"
#include "support/golden.hpp"

namespace graft_test {

namespace {

namespace fs = std::filesystem;

struct norms_around {
  static constexpr recipe rules{
      on(at::feed_forward_join, bottleneck{.ln_before = true,
                                           .ln_after = true,
                                           .gating = true,
                                           .residual = adapter_residual::post_add}),
      on(at::head, train{})};
};
struct old_gelu {
  static constexpr recipe rules{
      on(at::feed_forward_join, bottleneck{.activation = activation::gelu_tanh}),
      on(at::head, train{})};
};
struct above_lowest {
  static constexpr recipe rules{on(at::feed_forward_join, bottleneck{}, above(1)),
                                on(at::head, train{})};
};
struct but_the_middle {
  static constexpr recipe rules{on(at::memory, prefix{}, bottom(1)),
                                on(at::memory, prefix{}, above(2)), on(at::head, train{})};
};
struct scaled_outputs {
  static constexpr recipe rules{on(at::key | at::value | at::feed_forward_input, ia3{}),
                                on(at::head, train{})};
};
struct rows_behind_embeddings {
  static constexpr recipe rules{on(at::embeddings, prompt{}), on(at::head, train{})};
};
struct lora_and_pooler {
  static constexpr recipe rules{on(at::query | at::value, lora{.rank = dynamic}),
                                on(at::pooler | at::head, train{})};
};
struct lora_in_both {
  static constexpr recipe rules{
      on(at::query | at::value | at::feed_forward_input | at::feed_forward_output,
         lora{.rank = dynamic}),
      on(at::head, train{})};
};
struct fusion_of_two {
  static constexpr recipe rules{on(at::feed_forward_join, compose::fuse{.each = bottleneck{}}),
                                on(at::head, train{})};
};

std::string hub_path(const std::string& name) {
  return std::string(GRAFT_TEST_DATA) + "/adapterhub/" + name;
}

bert_config config_of(const std::string& model, std::optional<task_kind> task = {}) {
  const std::string file = golden_path(model + "/config.json");
  return read_bert_config(read_json(file), file, task);
}

// What follows from how the adapter started is not known any more.
nlohmann::json without_starts(nlohmann::json json) {
  if (json.is_object())
    json.erase("init_weights");
  if (json.is_structured())
    for (auto& part : json)
      part = without_starts(part);
  return json;
}

// Every file that graft writes, against the one of that name.
void check_files(const fs::path& ours, const fs::path& theirs) {
  for (const auto& file : fs::recursive_directory_iterator(ours)) {
    if (!file.is_regular_file())
      continue;
    const fs::path expected = theirs / fs::relative(file.path(), ours);
    INFO(expected.string());
    if (file.path().extension() == ".json")
      CHECK(without_starts(read_json(file.path())) == without_starts(read_json(expected)));
    else if (fs::exists(expected))
      CHECK(read_text(file.path()) == read_text(expected));
  }
}

void check_same(const adapter_data& a, const adapter_data& b) {
  REQUIRE(a.tensors.size() == b.tensors.size());
  for (const auto& [path, m] : a.tensors) {
    INFO(path);
    REQUIRE(b.tensors.contains(path));
    const stored_matrix& other = b.tensors.at(path);
    CHECK((m.rows == other.rows && m.cols == other.cols));
    CHECK(graft::values_of<double>(m) == graft::values_of<double>(other));
  }
  REQUIRE(a.decorations.size() == b.decorations.size());
  for (const auto& [path, methods] : a.decorations)
    for (const auto& [method, d] : methods) {
      INFO(path);
      CHECK(d.numbers == b.decorations.at(path).at(method).numbers);
      CHECK(d.form == b.decorations.at(path).at(method).form);
    }
  CHECK(a.task == b.task);
  CHECK(a.labels == b.labels);
  CHECK(a.departed == b.departed);
  CHECK(a.base.name == b.base.name);
}

enum class files { equal, other };  // do graft's files say it in the same way?

template <class T>
void check_folder(const std::string& model_name, const std::string& name,
                  files written = files::equal, const load_options& options = {}) {
  INFO(model_name << "_" << name);
  const std::string folder = hub_path(model_name + "_" + name);
  CHECK(is_adapterhub(folder));
  const bert_config config = config_of(model_name);
  const adapter_data a = read_adapterhub(folder, config);
  CHECK(a.base.name == model_name);

  using B = cpu<double>;
  auto model = bert_classifier<B, T>::load(golden_path(model_name), options);
  put_adapter(model, a);
  golden peer("../adapterhub/" + model_name);
  const token_batch batch = golden_batch(peer, model.config);
  host_workspace memory;
  const context<B> k{memory, batch.rows};
  CHECK(error_of(elements(model.predict(batch, k)), peer.values("logits." + name)) <= 1e-9);

  const scratch_folder ours;
  if (const char* kept = std::getenv("GRAFT_INTEROP"))  // for AdapterHub to read: interop/run.sh
    write_adapterhub(a, config, std::string(kept) + "/adapterhub/" + model_name + "_" + name, "a");
  write_adapterhub(a, config, ours / "again", "a");
  if (written == files::equal)
    check_files(ours / "again", folder);
  check_same(a, read_adapterhub(ours / "again", config));

  // What the model has now, written: all of it is from the folder.
  adapter_data now = data_of(model);
  now.base.name = model_name;
  for (auto& [path, methods] : now.decorations)
    for (auto& [method, d] : methods)
      if (d.form.empty())
        d.form = a.decorations.at(path).at(method).form;
  if (!name.starts_with("fusion")) {
    write_adapterhub(now, config, ours / "model", "a");
    check_same(read_adapterhub(ours / "again", config), read_adapterhub(ours / "model", config));
  }
}

}  // namespace

TEST_CASE("AdapterHub's bottlenecks are read, compute the same and are written again") {
  check_folder<strategies::pfeiffer>("bert", "seq_bn");
  check_folder<strategies::pfeiffer>("bert", "seq_bn_pickle");
  check_folder<strategies::houlsby>("bert", "double_seq_bn");
  check_folder<strategies::parallel>("bert", "par_bn");
  check_folder<strategies::scaled_parallel>("bert", "scaled_par_bn");
  check_folder<above_lowest>("bert", "widths", files::other);
  check_folder<norms_around>("bert", "norms");
}

TEST_CASE(
    "AdapterHub's bottlenecks in RoBERTa and DistilBERT are read, compute the same and are written "
    "again") {
  const std::string model = GENERATE("roberta", "distilbert");
  check_folder<strategies::pfeiffer>(model, "seq_bn");
  check_folder<strategies::houlsby>(model, "double_seq_bn");
}

TEST_CASE("AdapterHub's Compacter is read, computes the same and is written again") {
  check_folder<strategies::compacter_plus>("bert", "compacter");
}

TEST_CASE("AdapterHub's LoRA and IA3 are read, compute the same and are written again") {
  check_folder<strategies::lora_query_value>("bert", "lora");
  check_folder<scaled_outputs>("bert", "ia3");
  const std::string model = GENERATE("roberta", "distilbert");
  check_folder<lora_in_both>(model, "lora");
}

TEST_CASE("AdapterHub's prefixes and prompts are read, compute the same and are written again") {
  check_folder<but_the_middle>("bert", "prefix_flat");
  check_folder<strategies::prefix>("roberta", "prefix_flat");
  check_folder<strategies::prefix>("distilbert", "prefix_flat");
  check_folder<rows_behind_embeddings>("bert", "prompt");
}

TEST_CASE("AdapterHub's unions are read, compute the same and are written again") {
  check_folder<strategies::mam>("bert", "mam");
  check_folder<strategies::unipelt>("bert", "unipelt");
}

TEST_CASE("AdapterHub's fusion is read, computes the same and is written again") {
  check_folder<fusion_of_two>("bert", "fusion");
}

TEST_CASE("a fusion is read from its own folder, too, with its adapters beside it") {
  const bert_config c = config_of("bert");
  const adapter_data setup = read_adapterhub(hub_path("bert_fusion"), c);
  adapter_data alone = read_adapterhub(hub_path("bert_fusion/a,b"), c);
  CHECK(alone.task == std::nullopt);
  CHECK(alone.tensors.size() + 2 == setup.tensors.size());
  CHECK(alone.departed == setup.departed);
}

TEST_CASE("AdapterHub's flexible heads are read where a model of graft's computes the same") {
  check_folder<lora_and_pooler>("bert", "flexible");
  check_folder<strategies::lora_query_value>("bert", "pooler", files::other);
  check_folder<strategies::lora_query_value>("roberta", "flexible", files::other);
  check_folder<strategies::lora_query_value>("distilbert", "flexible", files::other);
}

TEST_CASE("AdapterHub's heads for tokens and answers are read and compute the same") {
  check_folder<strategies::lora_query_value>(
      "bert", "tagging", files::other,
      {.task = task_kind::token_classification, .labels = 4, .replace_head = true});
  check_folder<strategies::lora_query_value>(
      "bert", "answers", files::equal,
      {.task = task_kind::question_answering, .labels = 2, .replace_head = true});
}

TEST_CASE("a folder from before there were versions is read as it was meant") {
  check_folder<old_gelu>("bert", "old", files::other);
  const auto notes = read_adapterhub(hub_path("bert_old"), config_of("bert")).notes;
  REQUIRE(notes.size() == 3);
  CHECK(notes[0].ends_with("\"invertible_adapter\" of a task adapter was ignored"));
  CHECK(notes[1].ends_with("\"attention_type\" is unknown and was ignored"));
  CHECK(notes[2].ends_with("\"new_attention_norm\" is unknown and was ignored"));
}

}  // namespace graft_test
