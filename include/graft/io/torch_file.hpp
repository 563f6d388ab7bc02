// SPDX-License-Identifier: MIT
// A PyTorch checkpoint (pytorch_adapter.bin): a zip archive with the pickle of a dictionary and a
// file for each storage. Read only, and only its tensors: nothing in it is ever executed.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/plain.hpp>
#include <graft/io/file.hpp>
#include <graft/io/safetensors.hpp>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace graft {

// The tensors of a file that was read and checked in full, row-major as those of a
// safetensors_file. They stay where they are, but for those that are others' transposes or slices,
// which are copied; owner() keeps all of them alive, also without this object.
//
// Throws checkpoint_error for anything that is not a dictionary of tensors as torch.save writes it,
// among it whatever would call a function; for files of PyTorch before 1.6, which are no archives;
// and for copies that would be larger than the file.
class torch_file {
 public:
  static torch_file open(const std::filesystem::path& path) {
    const auto mapping = read_only_mapping::open(path);
    return parse(mapping->bytes(), mapping, path.string());
  }

  // The same for bytes in memory, which `owner` keeps alive; errors call them `file`.
  static torch_file parse(std::span<const std::byte> bytes, std::shared_ptr<const void> owner,
                          const std::string& file);

  // Null when there is no such tensor.
  const tensor_entry* find(std::string_view name) const {
    const auto found =
        std::lower_bound(entries_.begin(), entries_.end(), name,
                         [](const tensor_entry& t, std::string_view n) { return t.name < n; });
    return found != entries_.end() && found->name == name ? &*found : nullptr;
  }

  // In the order of their names.
  const std::vector<tensor_entry>& entries() const { return entries_; }
  const std::shared_ptr<const void>& owner() const { return owner_; }

 private:
  std::vector<tensor_entry> entries_;
  std::shared_ptr<const void> owner_;
};

}  // namespace graft

#if GRAFT_BODIES

#include <graft/io/json.hpp>
#include <graft/io/torch_pickle.hpp>
#include <graft/io/zip_file.hpp>

namespace graft {

namespace detail {

inline bool row_major(const pickled_tensor& t) {
  index_t stride = 1;
  for (std::size_t i = t.shape.size(); i > 0; --i) {
    if (t.shape[i - 1] > 1 && t.strides[i - 1] != stride)
      return false;
    stride *= t.shape[i - 1];
  }
  return true;
}

// The elements, row after row; there is one at least.
inline std::vector<std::byte> copied_rows(const pickled_tensor& t, std::size_t bytes) {
  const std::size_t each = size_of(t.type);
  std::vector<std::byte> copy(bytes);
  std::vector<index_t> index(t.shape.size(), 0);
  std::size_t from = t.offset;
  for (std::size_t to = 0; to < bytes; to += each) {
    std::memcpy(copy.data() + to, t.storage.data() + from * each, each);
    for (std::size_t i = index.size(); i > 0; --i) {
      const auto stride = static_cast<std::size_t>(t.strides[i - 1]);
      from += stride;
      if (++index[i - 1] < t.shape[i - 1])
        break;
      from -= stride * static_cast<std::size_t>(t.shape[i - 1]);
      index[i - 1] = 0;
    }
  }
  return copy;
}

}  // namespace detail

GRAFT_PLAIN torch_file torch_file::parse(std::span<const std::byte> bytes,
                                         std::shared_ptr<const void> owner, const std::string& file) {
  constexpr std::string_view pickle_name = "/data.pkl";
  if (!bytes.empty() && bytes.front() == std::byte{0x80})
    throw checkpoint_error(file +
                           ": expected a zip archive, found a bare pickle (PyTorch before 1.6 "
                           "wrote those; load and save it with a newer one)");
  const auto archive = read_zip(bytes, file);
  const auto pickle = std::find_if(archive.begin(), archive.end(), [&](const zip_entry& e) {
    return e.name.ends_with(pickle_name) && e.name.find('/') == e.name.size() - pickle_name.size();
  });
  if (pickle == archive.end())
    throw checkpoint_error(file +
                           ": expected an archive with <name>/data.pkl, found none (is this a "
                           "PyTorch checkpoint?)");
  const std::string folder = pickle->name.substr(0, pickle->name.size() - pickle_name.size() + 1);
  const std::string storage_folder = folder + "data/";
  detail::torch_unpickler::storages storages;
  for (const zip_entry& e : archive) {
    const std::string_view text(reinterpret_cast<const char*>(e.data.data()), e.data.size());
    if (e.name == folder + "byteorder" && text != "little")
      throw checkpoint_error(file + ": \"byteorder\": expected little, found " +
                             detail::in_quotes(text));
    if (e.name.starts_with(storage_folder))
      storages.emplace(e.name.substr(storage_folder.size()), e.data);
  }

  struct kept {
    std::shared_ptr<const void> file;
    std::vector<std::vector<std::byte>> copies;
  };
  auto all = std::make_shared<kept>();
  all->file = std::move(owner);
  std::size_t room = bytes.size();  // for copies
  torch_file result;
  const std::string place = file + ": data.pkl";
  for (auto& [name, t] : detail::torch_unpickler(pickle->data, storages, place).state_dict()) {
    const auto bytes_of_shape = detail::bytes_of(t.type, t.shape);
    if (!bytes_of_shape)
      throw checkpoint_error(file + ": " + detail::in_quotes(name) +
                             ": expected sizes that fit in memory, found " +
                             detail::described(t.shape));
    const std::size_t size = *bytes_of_shape;
    const std::byte* data = t.storage.data() + (size > 0 ? t.offset * size_of(t.type) : 0);
    if (size > 0 && !detail::row_major(t)) {
      if (size > room)
        throw checkpoint_error(file + ": " + detail::in_quotes(name) +
                               ": expected copies of at most " + std::to_string(bytes.size()) +
                               " bytes in all, found more");
      room -= size;
      all->copies.push_back(detail::copied_rows(t, size));
      data = all->copies.back().data();
    }
    result.entries_.push_back({name, t.type, t.shape, data, size});
  }
  result.owner_ = std::move(all);
  return result;
}

}  // namespace graft

#endif
