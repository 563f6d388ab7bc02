// SPDX-License-Identifier: MIT
// io/torch_file.hpp and io/zip_file.hpp: an archive as it is, and one whose checksums are set
// right, so that what lies behind them is reached.
#include <graft/io/torch_file.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fuzz/target.hpp"

namespace {

void set_checksums(std::vector<std::byte>& file) {
  constexpr std::array<std::byte, 4> record{std::byte{'P'}, std::byte{'K'}, std::byte{1},
                                            std::byte{2}};
  const auto number = [&](std::size_t at, std::size_t size) {
    std::size_t n = 0;
    for (std::size_t i = size; i > 0; --i)
      n = n << 8 | static_cast<std::size_t>(file[at + i - 1]);
    return n;
  };
  for (auto found = file.begin();; ++found) {
    found = std::search(found, file.end(), record.begin(), record.end());
    const auto at = static_cast<std::size_t>(found - file.begin());
    if (file.size() - at < 46)
      return;
    const std::size_t local = number(at + 42, 4), size = number(at + 24, 4);
    if (local > file.size() || file.size() - local < 30)
      continue;
    const std::size_t data = local + 30 + number(local + 26, 2) + number(local + 28, 2);
    if (data > file.size() || size > file.size() - data)
      continue;
    const auto sum = graft::detail::crc32(std::span<const std::byte>(file).subspan(data, size));
    for (std::size_t i = 0; i < 4; ++i)
      file[at + 16 + i] = static_cast<std::byte>(sum >> (8 * i));
  }
}

void read(std::span<const std::byte> bytes) {
  graft_fuzz::read_or_refuse("its file", [&] {
    const auto file = graft::torch_file::parse(bytes, nullptr, "its file");
    std::size_t sum = 0;
    for (const graft::tensor_entry& t : file.entries())
      for (std::size_t i = 0; i < t.bytes; ++i)
        sum += static_cast<std::size_t>(t.data[i]);
    if (sum > 255 * bytes.size() * bytes.size())  // never: the bytes are looked at
      std::abort();
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  read(bytes);
  std::vector<std::byte> right(bytes.begin(), bytes.end());
  set_checksums(right);
  read(right);
  return 0;
}
