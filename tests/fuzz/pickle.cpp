// SPDX-License-Identifier: MIT
// io/torch_pickle.hpp: a pickle alone, over three storages, without the archive and its checksums.
#include <graft/io/torch_pickle.hpp>

#include <array>
#include <cstdlib>
#include <span>
#include <string>

#include "fuzz/target.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::array<std::byte, 64> room{};
  static const graft::detail::torch_unpickler::storages storages{
      {"0", {room.data(), 16}}, {"1", {room.data(), 64}}, {"2", {}}};
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  const std::string name = "its file";
  graft_fuzz::read_or_refuse(name, [&] {
    for (const auto& [key, t] :
         graft::detail::torch_unpickler(bytes, storages, name).state_dict()) {
      std::size_t last = t.offset;
      bool empty = false;
      for (std::size_t i = 0; i < t.shape.size(); ++i) {
        empty = empty || t.shape[i] == 0;
        last += static_cast<std::size_t>(t.strides[i]) *
                static_cast<std::size_t>(t.shape[i] > 1 ? t.shape[i] - 1 : 0);
      }
      if (!empty && last >= t.storage.size() / graft::size_of(t.type))
        std::abort();
    }
  });
  return 0;
}
