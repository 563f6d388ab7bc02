// SPDX-License-Identifier: MIT
// io/safetensors.hpp: a file, then every byte of its tensors, and the tensors written and read
// again.
#include <graft/io/adapter_data.hpp>
#include <graft/io/peft_read.hpp>
#include <graft/io/safetensors.hpp>

#include <cstdlib>
#include <span>
#include <vector>

#include "fuzz/target.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  graft_fuzz::read_or_refuse("its file", [&] {
    const auto file = graft::safetensors_file::parse(bytes, nullptr, "its file");
    for (const graft::tensor_entry& t : file.entries()) {
      if (file.find(t.name) != &t)
        std::abort();
      if (!graft::detail::is_number(t.type))
        continue;
      const auto m = graft::detail::flattened(t, file.owner());
      if (graft::values_of<double>(m).size() != graft::element_count(t))
        std::abort();
    }
  });
  return 0;
}
