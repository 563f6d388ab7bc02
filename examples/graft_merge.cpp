// SPDX-License-Identifier: MIT
// Folds an adapter into its base: a complete Hugging Face folder without any adapter.
#include "support/program.hpp"

#include <graft/cpu.hpp>
#include <graft/io/json.hpp>
#include <graft/io/merge_adapter.hpp>

#include <array>
#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>

namespace {

using backend = graft::cpu<float>;

// What of a folder belongs to the text and not to the weights.
constexpr std::array<std::string_view, 12> text_files{
    "tokenizer.json",     "tokenizer_config.json",   "vocab.txt",
    "vocab.json",         "merges.txt",              "special_tokens_map.json",
    "added_tokens.json",  "sentencepiece.bpe.model", "sentence_bert_config.json",
    "config_sentence_transformers.json", "modules.json", "1_Pooling/config.json"};

void copy_text_files(const std::string& from, const std::string& to) {
  namespace fs = std::filesystem;
  for (const std::string_view name : text_files)
    if (const fs::path file = fs::path(from) / name; fs::is_regular_file(file)) {
      std::error_code failure;
      fs::create_directories((fs::path(to) / name).parent_path(), failure);
      fs::copy_file(file, fs::path(to) / name, fs::copy_options::overwrite_existing, failure);
      if (failure)
        throw graft::error((fs::path(to) / name).string() + ": cannot be written: " + failure.message());
    }
}

template <class Model>
void save(const Model& model, const std::string& folder) {
  if constexpr (requires { model.labels; })
    graft::save_pretrained(model, folder, graft::architecture_of(model.config, true), model.labels);
  else
    graft::save_pretrained(model, folder, graft::architecture_of(model.config, false));
}

template <graft::norm_order Order>
void merge(const std::string& base, const graft::adapter_data& a, const std::string& out) {
  const std::string config = graft::detail::config_name(base);
  if (a.task || graft::detail::brings_head(a) || graft::read_task(graft::read_json(config), config)) {
    auto model = graft::load_base_for<backend, graft::untuned, Order>(base, a);
    graft::merge_adapter(model, a);
    save(model, out);
  } else {
    auto model = graft::load_sentence_encoder<backend, graft::untuned, Order>(
        base, graft::detail::base_options<graft::untuned>(a));
    graft::merge_adapter(model, a);
    save(model, out);
  }
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "Folds an adapter into the weights of its base, in 32-bit numbers whatever those of the base, and "
      "writes the result as a Hugging Face folder: config.json, model.safetensors (F32), and the base's "
      "tokenizer. LoRA and its kin (rsLoRA, DoRA, AdaLoRA, VeRA), IA3, and what else was trained of the "
      "base; bottlenecks, prompts and prefixes are no part of a matrix.",
      "graft-merge");
  std::string model, adapter, out;
  app.add_option("--model", model, "Folder of the pretrained model")->required()->type_name("DIR");
  app.add_option("--adapter", adapter, "Folder of graft-finetune's, PEFT's or AdapterHub's")
      ->required()
      ->type_name("DIR");
  app.add_option("--out", out, "Folder to write")->required()->type_name("DIR");

  return programs::run(app, argc, argv, [&] {
    if (std::filesystem::exists(out) && std::filesystem::equivalent(model, out))
      throw CLI::ValidationError("--out", "is the folder of --model");
    const auto config = graft::read_bert_config_of(model);
    const auto data = graft::read_any_adapter(adapter, config);
    if (!data.base.fingerprint.empty() &&
        data.base.fingerprint != graft::identify_base(model).fingerprint)
      throw graft::checkpoint_error(data.source + ": expected the base " + data.base.name +
                                    " with fingerprint " + data.base.fingerprint + ", found " + model);
    if (order_of(config.family) == graft::norm_order::before)
      merge<graft::norm_order::before>(model, data, out);
    else
      merge<graft::norm_order::after>(model, data, out);
    copy_text_files(model, out);
    for (const std::string& note : data.notes)
      programs::say(app, "note: " + note);
    std::printf("%zu decorations merged into %s\n", data.decorations.size(), out.c_str());
  });
}
