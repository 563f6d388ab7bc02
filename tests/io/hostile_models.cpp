// SPDX-License-Identifier: MIT
// Models and adapters of hostile/corpus (see hostile.cpp), as far as a model: what their readers
// let through is refused where it would be put, which leaves the model as it was.
#include <graft/backend/reference.hpp>
#include <graft/io/adapter.hpp>
#include <graft/io/adapter_bank.hpp>
#include <graft/io/merge_adapter.hpp>
#include <graft/io/pretrained.hpp>
#include <graft/tuning/lora.hpp>

#include <filesystem>
#include <string>

#include "support/catch.hpp"
#include "support/hostile_corpus.hpp"
#include "support/small_bert.hpp"

namespace graft_test {

namespace {

using hostile_numbers = reference<float>;

struct hostile_slots {
  static constexpr recipe rules{on(at::query, lora{.rank = dynamic})};
};

// The adapter in a folder, read and put wherever it has a place. One that is said to be fine may
// have none; others must be refused somewhere.
void use_adapter(const std::string& folder) {
  const bert_config config = small_bert(bert_family::bert, 2);
  const adapter_data a = read_any_adapter(folder, config);
  std::string refusal;
  const auto put = [&](const auto& into) {
    try {
      into();
    } catch (const error& e) {
      refusal = e.what();
      CHECK_THAT(refusal, Catch::Matchers::Contains(folder));
    }
  };
  put([&] {
    bert_classifier<hostile_numbers, untuned> plain(config, {"no", "yes"});
    merge_adapter(plain, a);
  });
  put([&] {
    bert_classifier<hostile_numbers, hostile_slots> slots(config, {"no", "yes"});
    put_adapter(slots, a);
  });
  put([&] {
    adapter_bank<hostile_numbers> bank(
        adapter_bank<hostile_numbers>::model_type(config, {"no", "yes"}, 0));
    bank.load("hostile", a);
  });
  if (!refusal.empty() && !folder.ends_with("_fine"))
    throw error(refusal);
}

}  // namespace

TEST_CASE("no folder makes a model that its tensors do not fill") {
  for_each_hostile("models", [](const std::string& folder) {
    load_classifier<hostile_numbers, untuned>(folder);
  });
}

TEST_CASE("no adapter of PEFT's asks for more than it brings") {
  for_each_hostile("peft", use_adapter);
}

TEST_CASE("no adapter of AdapterHub's leads out of its folder, or asks for more than it brings") {
  for_each_hostile("adapterhub", use_adapter);
}

TEST_CASE("no adapter that says it is graft's asks for more than it brings") {
  for_each_hostile("graft", use_adapter);
}

}  // namespace graft_test
