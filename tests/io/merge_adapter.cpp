// SPDX-License-Identifier: MIT
// io/merge_adapter.hpp
#include <graft/io/adapter.hpp>
#include <graft/io/merge_adapter.hpp>
#include <graft/io/peft.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/golden.hpp"

namespace graft_test {

using Catch::Matchers::Contains;

namespace {

using merging_backend = cpu<double>;

adapter_data peft_adapter(const std::string& family, const std::string& which) {
  return read_peft(std::string(GRAFT_TEST_DATA) + "/peft_folders/" + family + "." + which,
                   read_bert_config_of(golden_path(family)));
}

bert_classifier<merging_backend> untuned_base(const std::string& family, const adapter_data& a) {
  return load_classifier<merging_backend, untuned>(golden_path(family),
                                                   detail::base_options<untuned>(a));
}

// How far the outputs for the golden texts are from PEFT's.
double distance_from_peft(const bert_classifier<merging_backend>& model, const std::string& family,
                const std::string& which) {
  static const auto file =
      safetensors_file::open(std::string(GRAFT_TEST_DATA) + "/peft_folders/expected.safetensors");
  const tensor_entry &ids = *file.find(family + ".ids"), &y = *file.find(family + "." + which);
  token_batch batch;
  for (index_t s = 0; s < ids.shape[0]; ++s) {
    std::vector<std::int64_t> row(static_cast<std::size_t>(ids.shape[1]));
    std::memcpy(row.data(), ids.data + static_cast<std::size_t>(s) * row.size() * 8, row.size() * 8);
    std::vector<std::int32_t> text;
    for (const std::int64_t id : row)
      if (id >= 0)
        text.push_back(static_cast<std::int32_t>(id));
    batch.append(text, {}, static_cast<std::uint32_t>(s), model.config.first_position);
  }
  std::vector<double> expected(element_count(y));
  convert_to(y.type, y.data, expected.size(), expected.data());
  merging_backend::workspace memory;
  const auto found = model.predict(batch, {memory, batch.rows});
  REQUIRE(static_cast<std::size_t>(found.size()) == expected.size());
  double far = 0;
  for (std::size_t i = 0; i < expected.size(); ++i)
    far = std::max(far, std::abs(found.data[i] - expected[i]));
  return far;
}

}  // namespace

TEST_CASE("a merged adapter computes what it computes beside the base") {
  for (const std::string family : {"bert", "roberta", "distilbert"})
    for (const std::string which :
         {"lora", "lora_linear", "lora_root", "lora_patterns", "lora_bias", "lora_biases", "lora_words",
          "lora_tokens", "lora_answers", "lora_no_head", "tokens", "dora", "dora_root", "adalora", "ia3",
          "vera"}) {
      INFO(family << "." << which);
      const adapter_data a = peft_adapter(family, which);
      CHECK(can_merge(a));
      auto model = untuned_base(family, a);
      merge_adapter(model, a);
      CHECK(distance_from_peft(model, family, which) <= 1e-10);
    }
}

TEST_CASE("what cannot be merged is refused, and the model is as it was") {
  adapter_data a = peft_adapter("bert", "lora");
  auto model = untuned_base("bert", a);
  const auto before = model.network.bert.embeddings.word.weight.data;
  const auto refusal = [&](const adapter_data& bad) {
    return message_of<error>([&] { merge_adapter(model, bad); });
  };
  const adapter_data prompt = peft_adapter("bert", "prompt");
  CHECK(!can_merge(prompt));
  CHECK_THAT(refusal(prompt), Contains("embeddings.word: expected a method that is one matrix") && Contains("found prompt"));
  adapter_data other = a;
  other.decorations["layer.9.attention.query"]["lora"] = {};
  CHECK_THAT(refusal(other), Contains("layer.9.attention.query"));
  other = a;
  other.decorations["layer.0.attention.query"]["dora"] = {};
  CHECK_THAT(refusal(other), Contains("expected one decoration of a layer with a weight, found 2"));
  other = a;
  other.tensors["layer.0.attention.query.lora.a"] = make_matrix<float>(4, 15).matrix;
  CHECK_THAT(refusal(other), Contains("layer.0.attention.query.lora.a: expected [4, 16], found [4, 15] F32"));
  other = a;
  other.tensors["somewhere.weight"] = make_matrix<float>(4, 15).matrix;
  CHECK_THAT(refusal(other), Contains("no place in this model for somewhere.weight"));
  CHECK(model.departed.empty());
  CHECK(model.network.bert.embeddings.word.weight.data == before);
}

}  // namespace graft_test
