// SPDX-License-Identifier: MIT
// The safetensors file: an 8-byte header length, a JSON header that names every tensor with its
// type, shape and place, then the bytes of the tensors, back to back. All numbers are
// little-endian. https://github.com/huggingface/safetensors
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/plain.hpp>
#include <graft/core/view.hpp>
#include <graft/io/dtype.hpp>
#include <graft/io/file.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace graft {

// One tensor, row-major. `data` is borrowed and need not be aligned for its type: files in use
// begin their data at odd addresses.
struct tensor_entry {
  std::string name;
  dtype type = dtype::f32;
  std::vector<index_t> shape;  // empty for a scalar
  const std::byte* data = nullptr;
  std::size_t bytes = 0;
};

inline std::size_t element_count(const tensor_entry& tensor) {
  return tensor.bytes / size_of(tensor.type);
}

// A file whose header has been read and checked in full: names once each, known types, sizes that
// agree with the shapes, and tensors that cover the data without gap, overlap or rest. The tensors
// themselves stay where they are; owner() keeps them alive, also without this object.
class safetensors_file {
 public:
  static safetensors_file open(const std::filesystem::path& path);

  // The same for bytes in memory, which `owner` keeps alive; errors call them `file`.
  static safetensors_file parse(std::span<const std::byte> bytes, std::shared_ptr<const void> owner,
                                const std::string& file);

  // Null when there is no such tensor.
  const tensor_entry* find(std::string_view name) const;

  // In the order of their names.
  const std::vector<tensor_entry>& entries() const { return entries_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::shared_ptr<const void>& owner() const { return owner_; }
  // Of a mapped file: its bytes need no memory until they are read again.
  void let_go() const {
    if (mapping_)
      mapping_->let_go();
  }

  // The JSON text with its padding, and all bytes after it.
  std::span<const std::byte> header() const { return header_; }
  std::span<const std::byte> data() const { return data_; }

 private:
  std::vector<tensor_entry> entries_;
  std::map<std::string, std::string> metadata_;
  std::shared_ptr<const void> owner_;
  std::shared_ptr<const read_only_mapping> mapping_;  // which is its owner, of a file
  std::span<const std::byte> header_;
  std::span<const std::byte> data_;
};

namespace detail {

// The bytes a tensor of this type and shape takes; nothing if that is no index_t. What stands beside a
// size of 0 must be one all the same: shapes are multiplied in parts.
GRAFT_PLAIN std::optional<std::size_t> bytes_of(dtype type, const std::vector<index_t>& shape);

GRAFT_PLAIN std::string described(const std::vector<index_t>& shape);

}  // namespace detail

// Writes a new file as the format's own writer lays it out: by falling alignment, then by name, the
// data beginning at a multiple of 8. `path` holds the old file or the complete new one, never a
// part.
GRAFT_PLAIN void write_safetensors(const std::filesystem::path& path, std::vector<tensor_entry> entries,
                                   const std::map<std::string, std::string>& metadata = {});

}  // namespace graft

#if GRAFT_BODIES

#include <graft/io/json.hpp>

namespace graft {

inline constexpr std::size_t safetensors_header_limit = 100'000'000;

namespace detail {

inline constexpr std::string_view metadata_key = "__metadata__";

inline dtype dtype_named(const std::string& name, const std::string& place) {
  for (std::size_t i = 0; i < dtype_table.size(); ++i)
    if (dtype_table[i].name == name)
      return static_cast<dtype>(i);
  std::string known;
  for (const auto& facts : dtype_table)
    known.append(known.empty() ? "" : ", ").append(facts.name);
  throw checkpoint_error(place + ": expected a dtype among " + known + ", found " +
                         in_quotes(name));
}

GRAFT_PLAIN std::optional<std::size_t> bytes_of(dtype type, const std::vector<index_t>& shape) {
  auto bytes = static_cast<index_t>(size_of(type));
  bool empty = false;
  for (const index_t extent : shape) {
    empty = empty || extent == 0;
    if (extent < 0 || (extent > 0 && bytes > std::numeric_limits<index_t>::max() / extent))
      return std::nullopt;
    bytes *= std::max<index_t>(extent, 1);
  }
  return empty ? 0 : static_cast<std::size_t>(bytes);
}

GRAFT_PLAIN std::string described(const std::vector<index_t>& shape) {
  return nlohmann::json(shape).dump();
}

// One item of the header.
inline tensor_entry read_entry(const std::string& name, const nlohmann::json& item,
                               std::span<const std::byte> data, const std::string& file) {
  const std::string place = file + ": tensor " + in_quotes(name);
  tensor_entry tensor;
  tensor.name = name;
  tensor.type = dtype_named(get<std::string>(item, "dtype", place), place);
  tensor.shape = get<std::vector<index_t>>(item, "shape", place);
  const auto expected = bytes_of(tensor.type, tensor.shape);
  if (!expected)
    throw checkpoint_error(place + ": expected a shape of sizes that fit in memory, found " +
                           described(tensor.shape));

  const auto offsets = get<std::vector<std::uint64_t>>(item, "data_offsets", place);
  if (offsets.size() != 2 || offsets[0] > offsets[1] || offsets[1] > data.size())
    throw checkpoint_error(place + ": expected data_offsets [begin, end] within " +
                           std::to_string(data.size()) + " bytes of data, found " +
                           nlohmann::json(offsets).dump());
  tensor.data = data.data() + offsets[0];
  tensor.bytes = static_cast<std::size_t>(offsets[1] - offsets[0]);
  if (tensor.bytes != *expected)
    throw checkpoint_error(place + ": expected " + std::to_string(*expected) + " bytes for " +
                           std::string(name_of(tensor.type)) + " " + described(tensor.shape) +
                           ", found " + std::to_string(tensor.bytes));
  return tensor;
}

// The tensors must lie end to end from the first byte of the data to the last.
inline void check_coverage(const std::vector<tensor_entry>& entries,
                           std::span<const std::byte> data, const std::string& file) {
  std::vector<const tensor_entry*> placed;
  for (const auto& tensor : entries)
    placed.push_back(&tensor);
  std::sort(placed.begin(), placed.end(), [](const tensor_entry* a, const tensor_entry* b) {
    return std::pair(a->data, a->bytes) < std::pair(b->data, b->bytes);
  });
  std::size_t covered = 0;
  for (const tensor_entry* tensor : placed) {
    const auto begin = static_cast<std::size_t>(tensor->data - data.data());
    if (begin != covered)
      throw checkpoint_error(file + ": tensor " + in_quotes(tensor->name) +
                             ": expected its data to begin at byte " + std::to_string(covered) +
                             ", where the tensor before it ends, found " + std::to_string(begin));
    covered += tensor->bytes;
  }
  if (covered != data.size())
    throw checkpoint_error(file + ": expected " + std::to_string(covered) +
                           " bytes of data after the header, found " + std::to_string(data.size()));
}

}  // namespace detail

GRAFT_PLAIN safetensors_file safetensors_file::open(const std::filesystem::path& path) {
  const auto mapping = read_only_mapping::open(path);
  safetensors_file file = parse(mapping->bytes(), mapping, path.string());
  file.mapping_ = mapping;
  return file;
}

GRAFT_PLAIN safetensors_file safetensors_file::parse(std::span<const std::byte> bytes,
                                                     std::shared_ptr<const void> owner,
                                                     const std::string& file) {
  std::uint64_t length = 0;
  if (bytes.size() < sizeof length)
    throw checkpoint_error(file + ": expected at least 8 bytes of safetensors, found " +
                           std::to_string(bytes.size()));
  std::memcpy(&length, bytes.data(), sizeof length);
  bytes = bytes.subspan(sizeof length);
  if (length > safetensors_header_limit || length > bytes.size())
    throw checkpoint_error(file + ": expected a header of at most " +
                           std::to_string(std::min(safetensors_header_limit, bytes.size())) +
                           " bytes, found the length " + std::to_string(length) +
                           " (is this a safetensors file?)");

  safetensors_file result;
  result.owner_ = std::move(owner);
  result.header_ = bytes.first(static_cast<std::size_t>(length));
  result.data_ = bytes.subspan(result.header_.size());

  // White space before the brace is against the format's text, but its own reader accepts it.
  const std::string_view text(reinterpret_cast<const char*>(result.header_.data()),
                              result.header_.size());
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos || text[first] != '{')
    throw checkpoint_error(file +
                           ": expected a header that begins with '{' (is this a "
                           "safetensors file?)");
  const nlohmann::json header = parse_json(text, file + ": header");
  for (const auto& [name, item] : header.items()) {
    if (name == detail::metadata_key)
      result.metadata_ = get<std::map<std::string, std::string>>(header, name, file);
    else
      result.entries_.push_back(detail::read_entry(name, item, result.data_, file));
  }
  detail::check_coverage(result.entries_, result.data_, file);
  return result;
}

GRAFT_PLAIN const tensor_entry* safetensors_file::find(std::string_view name) const {
  const auto found = std::lower_bound(
      entries_.begin(), entries_.end(), name,
      [](const tensor_entry& tensor, std::string_view n) { return tensor.name < n; });
  return found != entries_.end() && found->name == name ? &*found : nullptr;
}

namespace detail {

inline std::string header_of(const std::vector<tensor_entry>& entries,
                             const std::map<std::string, std::string>& metadata) {
  std::string header;
  if (!metadata.empty())
    header = "\"" + std::string(metadata_key) + "\":" + nlohmann::json(metadata).dump();
  std::size_t begin = 0;
  for (const auto& tensor : entries) {
    const std::size_t end = begin + tensor.bytes;
    header += (header.empty() ? "" : ",") + nlohmann::json(tensor.name).dump();
    header += ":{\"dtype\":\"" + std::string(name_of(tensor.type)) + "\"";
    header += ",\"shape\":" + described(tensor.shape);
    header += ",\"data_offsets\":" + nlohmann::json::array({begin, end}).dump() + "}";
    begin = end;
  }
  header = "{" + header + "}";
  header.append((8 - header.size() % 8) % 8, ' ');
  return header;
}

}  // namespace detail

GRAFT_PLAIN void write_safetensors(const std::filesystem::path& path, std::vector<tensor_entry> entries,
                                   const std::map<std::string, std::string>& metadata) {
  std::set<std::string_view> names;
  for (const auto& tensor : entries) {
    const std::string place = path.string() + ": tensor " + detail::in_quotes(tensor.name);
    if (tensor.name == detail::metadata_key || !names.insert(tensor.name).second)
      throw checkpoint_error(place + ": expected a name of its own, found one that is taken");
    if (detail::bytes_of(tensor.type, tensor.shape) != tensor.bytes)
      throw checkpoint_error(
          place + ": expected the bytes of " + std::string(name_of(tensor.type)) + " " +
          detail::described(tensor.shape) + ", found " + std::to_string(tensor.bytes));
  }
  names.clear();  // they point into what is sorted now
  std::sort(entries.begin(), entries.end(), [](const tensor_entry& a, const tensor_entry& b) {
    return a.type != b.type ? a.type > b.type : a.name < b.name;
  });

  std::string header;
  try {
    header = detail::header_of(entries, metadata);
  } catch (const nlohmann::json::exception& failure) {
    throw checkpoint_error(path.string() + ": expected names and metadata in UTF-8, found " +
                           detail::reason_of(failure));
  }
  const std::uint64_t length = header.size();
  if (length > safetensors_header_limit)
    throw checkpoint_error(path.string() + ": expected a header of at most " +
                           std::to_string(safetensors_header_limit) + " bytes, found " +
                           std::to_string(length));
  write_atomically(path, [&](output_file& file) {
    file.write(&length, sizeof length);
    file.write(header);
    for (const auto& tensor : entries)
      file.write(tensor.data, tensor.bytes);
  });
}

}  // namespace graft

#endif
