// SPDX-License-Identifier: MIT
// The zip archive as far as PyTorch writes it: entries that are stored as they are.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/plain.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace graft {

struct zip_entry {
  std::string name;
  std::span<const std::byte> data;
  std::uint32_t checksum = 0;  // CRC-32, as the archive has it
};

// The entries of an archive, in its own order; they stay where they are. `file` is what errors call
// it.
//
// Throws checkpoint_error for compressed, encrypted, overlapping or damaged entries, names that
// occur twice, archives in several parts and entries of 4 GiB or more (zip64).
GRAFT_PLAIN std::vector<zip_entry> read_zip(std::span<const std::byte> bytes, const std::string& file);

}  // namespace graft

#if GRAFT_BODIES

#include <graft/io/json.hpp>

namespace graft {

namespace detail {

inline constexpr std::array<std::uint32_t, 256> crc_table = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t c = i;
    for (int bit = 0; bit < 8; ++bit)
      c = (c >> 1) ^ ((c & 1u) != 0 ? 0xedb88320u : 0u);
    table[i] = c;
  }
  return table;
}();

// The checksum that a zip file has for each entry.
inline std::uint32_t crc32(std::span<const std::byte> data) {
  std::uint32_t c = 0xffffffffu;
  for (const std::byte b : data)
    c = crc_table[(c ^ static_cast<std::uint32_t>(b)) & 0xffu] ^ (c >> 8);
  return ~c;
}

// Numbers at places of a file, little-endian; a place that the file does not have is an error.
struct zip_bytes {
  std::span<const std::byte> bytes;
  const std::string& file;

  [[noreturn]] void refuse(const std::string& what) const {
    throw checkpoint_error(file + ": " + what);
  }

  std::span<const std::byte> part(std::size_t at, std::size_t size, const char* what) const {
    if (at > bytes.size() || size > bytes.size() - at)
      refuse("expected " + std::string(what) + " within " + std::to_string(bytes.size()) +
             " bytes, found " + std::to_string(size) + " bytes at byte " + std::to_string(at));
    return bytes.subspan(at, size);
  }
  std::uint32_t number(std::size_t at, std::size_t size) const {
    std::uint32_t n = 0;
    const auto from = part(at, size, "a zip record");
    for (std::size_t i = 0; i < size; ++i)
      n |= static_cast<std::uint32_t>(from[i]) << (8 * i);
    return n;
  }
  std::string text(std::size_t at, std::size_t size) const {
    const auto from = part(at, size, "a zip entry's name");
    return {reinterpret_cast<const char*>(from.data()), size};
  }
};

// Where the record stands that ends the archive: the last of its size and a comment's that says so.
inline std::size_t zip_end(const zip_bytes& in) {
  constexpr std::size_t record = 22, longest_comment = 0xffff;
  const std::size_t size = in.bytes.size();
  for (std::size_t back = record; back <= size && back <= record + longest_comment; ++back)
    if (in.number(size - back, 4) == 0x06054b50u && in.number(size - back + 20, 2) == back - record)
      return size - back;
  in.refuse("expected a zip archive, found " + std::to_string(size) +
            " bytes that do not end as one");
}

// One entry, from its record in the archive's list at `at`.
inline zip_entry read_zip_entry(const zip_bytes& in, std::size_t at, std::size_t list_at) {
  const std::string name = in.text(at + 46, in.number(at + 28, 2));
  const auto refuse = [&](const std::string& what) {
    in.refuse("entry " + in_quotes(name) + ": " + what);
  };
  if (const auto method = in.number(at + 10, 2); method != 0)
    refuse("expected a stored entry (method 0), found compression method " +
           std::to_string(method));
  if ((in.number(at + 8, 2) & 1u) != 0)
    refuse("expected no encryption, found an encrypted entry");
  const std::size_t size = in.number(at + 24, 4), begin = in.number(at + 42, 4);
  if (size == 0xffffffffu || begin == 0xffffffffu)
    refuse("expected less than 4 GiB, found a zip64 entry");
  if (in.number(at + 20, 4) != size)
    refuse("expected as many bytes stored as there are, " + std::to_string(size) + ", found " +
           std::to_string(in.number(at + 20, 4)));
  if (in.number(begin, 4) != 0x04034b50u)
    refuse("expected its header at byte " + std::to_string(begin) + ", found something else");
  const std::size_t length = in.number(begin + 26, 2);
  if (in.text(begin + 30, length) != name)
    refuse("expected its own name at byte " + std::to_string(begin + 30) + ", found " +
           in_quotes(in.text(begin + 30, length)));
  const std::size_t data = begin + 30 + length + in.number(begin + 28, 2);
  if (data > list_at || size > list_at - data)
    refuse("expected its data before the archive's list at byte " + std::to_string(list_at) +
           ", found " + std::to_string(size) + " bytes at byte " + std::to_string(data));
  return {name, in.part(data, size, "an entry's data"), in.number(at + 16, 4)};
}

// Entries lie apart: no byte is looked at twice.
inline void expect_undamaged(const std::vector<zip_entry>& entries, const zip_bytes& in) {
  for (const zip_entry& e : entries)
    if (const auto sum = crc32(e.data); sum != e.checksum)
      in.refuse("entry " + in_quotes(e.name) + ": expected data with the checksum " +
                std::to_string(e.checksum) + ", found " + std::to_string(sum));
}

// No name twice, no byte in two entries.
inline void expect_apart(std::vector<zip_entry> entries, const zip_bytes& in) {
  const auto by = [&](auto what) {
    std::sort(entries.begin(), entries.end(),
              [=](const zip_entry& a, const zip_entry& b) { return what(a) < what(b); });
  };
  by([](const zip_entry& e) -> std::string_view { return e.name; });
  for (std::size_t i = 1; i < entries.size(); ++i)
    if (entries[i].name == entries[i - 1].name)
      in.refuse("expected entries with names of their own, found " + in_quotes(entries[i].name) +
                " twice");
  std::erase_if(entries, [](const zip_entry& e) { return e.data.empty(); });
  by([](const zip_entry& e) { return e.data.data(); });
  for (std::size_t i = 1; i < entries.size(); ++i)
    if (entries[i - 1].data.data() + entries[i - 1].data.size() > entries[i].data.data())
      in.refuse("expected entries with bytes of their own, found " + in_quotes(entries[i].name) +
                " within " + in_quotes(entries[i - 1].name));
}

}  // namespace detail

GRAFT_PLAIN std::vector<zip_entry> read_zip(std::span<const std::byte> bytes, const std::string& file) {
  const detail::zip_bytes in{bytes, file};
  const std::size_t end = detail::zip_end(in);
  const std::size_t count = in.number(end + 10, 2), list_at = in.number(end + 16, 4);
  if (in.number(end + 4, 2) != 0 || in.number(end + 6, 2) != 0 || in.number(end + 8, 2) != count)
    in.refuse("expected an archive in one part, found one of several");
  if (count == 0xffffu || list_at == 0xffffffffu)
    in.refuse("expected less than 4 GiB and 65535 entries, found a zip64 archive");
  if (list_at > end || in.number(end + 12, 4) > end - list_at)
    in.refuse("expected the archive's list before byte " + std::to_string(end) +
              ", found it at byte " + std::to_string(list_at));
  std::vector<zip_entry> entries;
  std::size_t at = list_at;
  for (std::size_t i = 0; i < count; ++i) {
    if (in.number(at, 4) != 0x02014b50u)
      in.refuse("expected a record of an entry at byte " + std::to_string(at) +
                ", found something else");
    entries.push_back(detail::read_zip_entry(in, at, list_at));
    at += 46 + in.number(at + 28, 2) + in.number(at + 30, 2) + in.number(at + 32, 2);
  }
  detail::expect_apart(entries, in);
  detail::expect_undamaged(entries, in);
  return entries;
}

}  // namespace graft

#endif
