// SPDX-License-Identifier: MIT
// Sentence vectors of lines of standard input.
#include "support/compute.hpp"
#include "support/encoder_tuning.hpp"
#include "support/program.hpp"
#include "support/texts.hpp"

#include <graft/cpu.hpp>
#include <graft/io/json.hpp>

#include <charconv>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

namespace {

// sentence-transformers keeps the length it cuts texts at in a file of its own; 0 without one.
graft::index_t usual_length(const std::string& folder) {
  const auto path = std::filesystem::path(folder) / "sentence_bert_config.json";
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored))
    return 0;
  return graft::get<int>(graft::read_json(path), "max_seq_length", path.string(), 0);
}

// The shortest numbers that read back as the same.
template <class T>
std::string json_array(const graft::host_matrix<T>& vectors, graft::index_t row) {
  std::string line = "[";
  for (graft::index_t i = 0; i < vectors.cols; ++i) {
    char number[32];
    const auto end = std::to_chars(number, number + sizeof number, vectors(row, i)).ptr;
    line.append(i == 0 ? "" : ", ").append(number, end);
  }
  return line + "]\n";
}

template <class Model>
void encode(const CLI::App& app, const Model& model, const std::string& folder, int max_length) {
  using B = typename Model::backend_type;
  auto encoder = programs::text_encoder::open(folder, model.config, model.config.longest(),
                                              max_length > 0 ? max_length : usual_length(folder));
  typename B::workspace memory;
  graft::token_batch batch;
  programs::for_each_chunk([&](const std::vector<programs::input_line>& input) {
    graft::example_list examples;
    for (const auto& line : input)
      examples.push_back(encoder(line.text, line.place));
    std::vector<std::string> lines(examples.size());
    for (const auto& chosen : graft::plan_evaluation(examples, 32)) {
      graft::pack(examples, chosen, model.config.first_position, batch);
      const auto vectors = graft::read_matrix<B>(model.encode(batch, {memory, batch.rows}));
      for (std::size_t i = 0; i < chosen.size(); ++i)
        lines[chosen[i]] = json_array(vectors, static_cast<graft::index_t>(i));
    }
    for (const auto& line : lines)
      std::cout << line;
  });
  if (const auto warning = encoder.warning(); !warning.empty())
    programs::say(app, "warning: " + warning);
}

template <class B>
void encode_with(const CLI::App& app, const std::string& folder, const std::string& adapter,
                 int max_length) {
  if (adapter.empty())
    encode(app, graft::load_sentence_encoder<B>(folder), folder, max_length);
  else
    encode(app, graft::load_encoder_with_adapter<B, programs::encoder_tuning>(folder, adapter), folder,
           max_length);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "Turns each line of standard input into a sentence vector: the mean of the token "
      "vectors, of length 1, as a JSON array on a line.",
      "graft-encode");
  std::string folder, adapter;
  int max_length = 0;
  app.add_option("--model", folder, "Folder of the pretrained model")->required()->type_name("DIR");
  app.add_option("--adapter", adapter, "Folder that graft-similarity wrote")->type_name("DIR");
  app.add_option("--max-length", max_length,
                 "Tokens of a text that are read (default: as the folder says, else as many as the "
                 "model has positions for)")
      ->type_name("N")
      ->check(CLI::Range(3, 1 << 20));
  programs::compute with;
  programs::add_compute(app, with);
  programs::add_threads(app);

  return programs::run(app, argc, argv, [&] {
    programs::check_compute(with);
    programs::on_backend(
        with, [&]<class B>() { encode_with<B>(app, folder, adapter, max_length); });
  });
}
