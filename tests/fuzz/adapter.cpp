// SPDX-License-Identifier: MIT
// io/adapter_file.hpp, io/peft_read.hpp, io/adapterhub_read.hpp: an adapter's folder, for a small
// BERT. The first byte says whose it is and in what form its tensors are; a zero byte separates the
// configuration from them.
#include <graft/io/adapter_file.hpp>
#include <graft/io/adapterhub_read.hpp>
#include <graft/io/peft_read.hpp>

#include "fuzz/target.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const graft_fuzz::work_folder folder;
  static const graft::bert_config config = [] {
    graft::bert_config c;
    c.width = 8;
    c.layers = 2;
    c.heads = 2;
    c.inner = 12;
    c.vocabulary = 11;
    c.positions = 7;
    return c;
  }();
  if (size == 0)
    return 0;
  const auto parts = graft_fuzz::split(graft_fuzz::text_of_input(data + 1, size - 1), 2);
  const char kind = static_cast<char>(data[0]);
  folder.clear();
  folder.write(kind == 'g' ? "graft_adapter.json" : "adapter_config.json", parts[0]);
  folder.write(kind == 'g'   ? "graft_adapter.safetensors"
               : kind == 'p' ? "adapter_model.safetensors"
               : kind == 'q' ? "adapter_model.bin"
               : kind == 'h' ? "adapter.safetensors"
                             : "pytorch_adapter.bin",
               parts[1]);
  graft_fuzz::read_or_refuse(folder.path(), [&] {
    const graft::adapter_data a = kind == 'g' ? graft::read_adapter(folder.path())
                                  : kind == 'p' || kind == 'q'
                                      ? graft::read_peft(folder.path(), config)
                                      : graft::read_adapterhub(folder.path(), config);
    for (const auto& [path, m] : a.tensors)
      if (graft::detail::is_number(m.type))
        graft::values_of<float>(m);
    for (const auto& [path, rows] : a.rows)
      if (static_cast<graft::index_t>(rows.entries.size()) != rows.rows.rows)
        std::abort();
  });
  return 0;
}
