// SPDX-License-Identifier: MIT
// Tells whether a checkpoint is the one an adapter was trained on, without reading it whole.
#pragma once

#include <graft/core/plain.hpp>
#include <graft/io/checkpoint_folder.hpp>
#include <graft/io/safetensors.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace graft {

namespace detail {

// FNV-1a with 64 bits:  h = (h xor byte) * prime.  Each step is a bijection of h, so texts of equal
// length that differ in one byte never agree.  Fowler, Noll, Vo, draft-eastlake-fnv.
class fnv1a {
 public:
  void add(std::span<const std::byte> bytes) {
    for (const std::byte b : bytes)
      value_ = (value_ ^ std::to_integer<std::uint64_t>(b)) * 0x100000001b3u;
  }
  void add(std::uint64_t number) { add(std::as_bytes(std::span(&number, 1))); }

  std::uint64_t value() const { return value_; }

 private:
  std::uint64_t value_ = 0xcbf29ce484222325u;
};

// 16 hexadecimal digits.
GRAFT_PLAIN std::string hash_text(const fnv1a& hash);

}  // namespace detail

// 16 hexadecimal digits over the headers, the sizes and a sample of the data of the weight files.
// Copies agree under any file name. Another header, size or sampled byte differs; a change between
// the sampled pages is not seen, nor is config.json. It guards against mistakes, not against
// malice.
GRAFT_PLAIN std::string fingerprint(const checkpoint& base);

}  // namespace graft

#if GRAFT_BODIES

namespace graft {

namespace detail {

GRAFT_PLAIN std::string hash_text(const fnv1a& hash) {
  std::string text(16, '0');
  for (std::size_t i = 0; i < text.size(); ++i)
    text[i] = "0123456789abcdef"[(hash.value() >> (60 - 4 * i)) & 0xfu];
  return text;
}

// 64 pages of 4 KiB, the first and the last among them, at even distances; all of a smaller file.
inline std::uint64_t content_hash(const safetensors_file& file) {
  constexpr std::size_t pages = 64;
  constexpr std::size_t page = 4096;
  const auto data = file.data();
  fnv1a hash;
  hash.add(file.header().size());
  hash.add(file.header());
  hash.add(data.size());
  if (data.size() <= pages * page) {
    hash.add(data);
  } else {
    const std::size_t last = data.size() - page;
    for (std::size_t i = 0; i < pages; ++i)
      hash.add(data.subspan(last / (pages - 1) * i + last % (pages - 1) * i / (pages - 1), page));
  }
  return hash.value();
}

}  // namespace detail

GRAFT_PLAIN std::string fingerprint(const checkpoint& base) {
  std::vector<std::uint64_t> hashes;
  for (const auto& file : base.files())
    hashes.push_back(detail::content_hash(file));
  std::sort(hashes.begin(), hashes.end());
  detail::fnv1a all;
  for (const std::uint64_t hash : hashes)
    all.add(hash);
  return detail::hash_text(all);
}

}  // namespace graft

#endif
