// SPDX-License-Identifier: MIT
// What is configured by JSON: models (config.json), the index of shards, PEFT's and AdapterHub's
// adapter_config.json and head_config.json, graft's own adapters. The first byte says which.
#include <graft/io/adapter_file.hpp>
#include <graft/io/adapterhub_read.hpp>
#include <graft/io/checkpoint_folder.hpp>
#include <graft/io/module_names.hpp>
#include <graft/io/peft_config.hpp>

#include <string>

#include "fuzz/target.hpp"
#include "support/small_bert.hpp"

namespace {

using namespace graft;

bert_config tiny() { return graft_test::small_bert(bert_family::bert, 2); }

void read_config(char kind, std::string_view text, const graft_fuzz::work_folder& folder) {
  const std::string file = "its file";
  switch (kind) {
    case 'm':  // a model
      graft_fuzz::read_or_refuse(file, [&] {
        const nlohmann::json json = parse_json(text, file);
        read_labels(json, file);
        const bert_config c = read_bert_config(json, file);
        hugging_face_names(c);
        write_bert_config(c, architecture_of(c, true), {});
      });
      break;
    case 'h':  // AdapterHub
      graft_fuzz::read_or_refuse(file, [&] {
        const auto a = read_adapterhub_config(parse_json(text, file), tiny(), file);
        adapterhub_tensors(a.decorations, tiny(), a.name);
      });
      break;
    case 't':  // AdapterHub's heads
      graft_fuzz::read_or_refuse(
          file, [&] { read_adapterhub_head(parse_json(text, file), tiny(), file); });
      break;
    case 'p':  // PEFT
      graft_fuzz::read_or_refuse(folder.path(), [&] {
        const peft_config c = read_peft_config(folder.write("adapter_config.json", text));
        for (const auto& [path, module] : hugging_face_names(tiny()).modules) {
          is_target(c, module, detail::layer_of(path));
          detail::value_for(c.ranks, module, c.file);
          detail::value_for(c.alphas, module, c.file);
        }
      });
      break;
    case 'g':  // graft's own
      folder.write("graft_adapter.json", text);
      graft_fuzz::read_or_refuse(folder.path(), [&] { detail::read_adapter_json(folder.path()); });
      break;
    case 'i':  // an index of shards
      graft_fuzz::read_or_refuse(folder.path(), [&] {
        detail::open_shards(folder.write("model.safetensors.index.json", text));
      });
      break;
    default:
      graft_fuzz::read_or_refuse(file, [&] { parse_json(text, file); });
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const graft_fuzz::work_folder folder;
  if (size > 0)
    read_config(static_cast<char>(data[0]), graft_fuzz::text_of_input(data + 1, size - 1), folder);
  return 0;
}
