// SPDX-License-Identifier: MIT
// Adapters from one library's folder into another's.
#include "support/program.hpp"

#include <graft/cpu.hpp>
#include <graft/io/drawn_values.hpp>

#include <cstdio>
#include <string>

namespace {

using backend = graft::cpu<float>;

// The adapter with what its file leaves to a seed: others' files hold it.
graft::adapter_data whole(const graft::adapter_data& a, const graft::bert_config& config) {
  const graft::bert_classifier_network<backend, graft::untuned> base(config, 2);
  return graft::with_drawn<backend>(a, graft::map_sizes(graft::list_parts(base)));
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "Reads an adapter of graft's, PEFT's or AdapterHub's and writes it as PEFT "
      "(PeftModel.from_pretrained takes it) or AdapterHub (load_adapter with use_safetensors=True) has it. "
      "What the other format cannot hold is refused by name, and nothing is written.",
      "graft-convert");
  std::string model, adapter, to, out, name = "adapter", base;
  app.add_option("--model", model, "Folder of the adapter's base")->required()->type_name("DIR");
  app.add_option("--adapter", adapter, "Folder to read")->required()->type_name("DIR");
  app.add_option("--to", to, "peft or adapterhub")
      ->required()
      ->check(CLI::IsMember({"peft", "adapterhub"}));
  app.add_option("--out", out, "Folder to write")->required()->type_name("DIR");
  app.add_option("--name", name, "What AdapterHub's files call it")
      ->capture_default_str()
      ->type_name("NAME");
  app.add_option("--base-name", base,
                 "What PEFT's file calls the base: a name or folder that Python finds it by (default: as "
                 "the adapter has it)");

  return programs::run(app, argc, argv, [&] {
    auto config = graft::read_bert_config_of(model);
    const auto data = whole(graft::read_any_adapter(adapter, config), config);
    config.task = data.task.value_or(config.task);
    const bool with_head = data.task || graft::detail::brings_head(data);
    if (to == "peft")
      graft::write_peft(data, graft::hugging_face_names(config, with_head), out, {.base_model = base});
    else
      graft::write_adapterhub(data, config, out, name);
    for (const std::string& note : data.notes)
      programs::say(app, "note: " + note);
    std::printf("%s\n", out.c_str());
  });
}
