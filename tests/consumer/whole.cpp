// SPDX-License-Identifier: MIT
// A user's program from end to end: a base is written and read, tuned, and its adapter saved and
// read.
#include <graft/cpu.hpp>

#include <cstdio>
#include <filesystem>

using namespace graft;

struct low_rank {
  static constexpr recipe rules{on(at::query | at::value, lora{.rank = 2}), on(at::head, train{})};
};

int main() {
  using B = cpu<float>;
  const auto folder = std::filesystem::temp_directory_path() / "graft_consumer";
  const std::string base = (folder / "base").string(), adapter = (folder / "adapter").string();
  bert_config config;
  config.width = 8, config.layers = 1, config.heads = 2, config.inner = 8;
  config.vocabulary = 10, config.positions = 8;
  save_pretrained(bert_classifier<B, untuned>(config, {"no", "yes"}), base,
                  "BertForSequenceClassification", {"no", "yes"});

  auto model = bert_classifier<B, low_rank>::load(base);
  example_list examples(8);
  for (std::size_t i = 0; i < examples.size(); ++i) {
    examples[i].ids = {1, static_cast<std::int32_t>(2 + i)};
    examples[i].label = static_cast<std::int32_t>(i % 2);
  }
  const fit_report report = fit(model, examples, examples, {.epochs = 1, .batch = 4});
  save_adapter(model, adapter, identify_base(base));
  const auto again = load_with_adapter<B, low_rank>(base, adapter);
  std::filesystem::remove_all(folder);

  const bool learned = report.epochs.size() == 1;
  const bool same = evaluate(again, examples).loss == evaluate(model, examples).loss;
  std::printf("learned %d, same %d\n", learned, same);
  return learned && same ? 0 : 1;
}
