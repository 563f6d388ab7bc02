// SPDX-License-Identifier: MIT
// A pretrained model as Hugging Face lays it out in a folder: config.json, and the weights in
// model.safetensors or in several files that model.safetensors.index.json lists.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/plain.hpp>
#include <graft/io/safetensors.hpp>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace graft {

// All tensors of the folder under one roof, whichever file holds them. The index of a sharded model
// must agree with the shards: each tensor in the file it is listed for, and none besides.
class checkpoint {
 public:
  static checkpoint open(const std::filesystem::path& folder);

  // Null when there is no such tensor.
  const tensor_entry* find(std::string_view name) const;

  // Sorted.
  std::vector<std::string> names() const;

  // What keeps the data of a tensor of this checkpoint alive.
  std::shared_ptr<const void> owner_of(const tensor_entry& tensor) const;

  const std::vector<safetensors_file>& files() const { return files_; }

  // config.json, an object.
  const nlohmann::json& config() const { return *config_; }

 private:
  std::shared_ptr<const nlohmann::json> config_;
  std::vector<safetensors_file> files_;
};

namespace detail {

GRAFT_PLAIN std::vector<safetensors_file> open_shards(const std::filesystem::path& index_path);

// The first few of many names, for a message.
GRAFT_PLAIN std::string listed(const std::vector<std::string>& names);

}  // namespace detail

}  // namespace graft

#if GRAFT_BODIES

#include <graft/io/json.hpp>

#include <nlohmann/json.hpp>

namespace graft {

namespace detail {

// A shard's name comes from a file of foreign origin and must not lead out of its folder.
inline bool is_plain_file_name(std::string_view name) {
  constexpr std::string_view separators("/\\:\0", 4);
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(separators) == std::string_view::npos;
}

GRAFT_PLAIN std::string listed(const std::vector<std::string>& names) {
  constexpr std::size_t most = 10;
  std::string list;
  for (std::size_t i = 0; i < std::min(most, names.size()); ++i)
    list += (i == 0 ? "" : ", ") + in_quotes(names[i]);
  if (names.size() > most)
    list += " and " + std::to_string(names.size() - most) + " more";
  return list;
}

GRAFT_PLAIN std::vector<safetensors_file> open_shards(const std::filesystem::path& index_path) {
  const std::string index_name = index_path.string();
  const auto shard_of =
      get<std::map<std::string, std::string>>(read_json(index_path), "weight_map", index_name);
  std::map<std::string, std::vector<std::string>> listed_in;  // shard -> names, sorted
  for (const auto& [name, shard] : shard_of) {
    if (!is_plain_file_name(shard))
      throw checkpoint_error(index_name + ": tensor " + in_quotes(name) +
                             ": expected the plain name of a file beside it, found " +
                             in_quotes(shard));
    listed_in[shard].push_back(name);
  }
  if (listed_in.empty())
    throw checkpoint_error(index_name + ": expected at least one tensor, found none");

  std::vector<safetensors_file> files;
  for (const auto& [shard, expected] : listed_in) {
    const std::filesystem::path path = index_path.parent_path() / shard;
    files.push_back(safetensors_file::open(path));
    std::vector<std::string> absent;
    for (const auto& name : expected)
      if (files.back().find(name) == nullptr)
        absent.push_back(name);
    if (!absent.empty())
      throw checkpoint_error(path.string() + ": expected the tensors that " +
                             index_path.filename().string() + " lists for it, found no " +
                             listed(absent));
    std::vector<std::string> unlisted;
    for (const auto& tensor : files.back().entries())
      if (!std::binary_search(expected.begin(), expected.end(), tensor.name))
        unlisted.push_back(tensor.name);
    if (!unlisted.empty())
      throw checkpoint_error(path.string() + ": expected only the tensors that " +
                             index_path.filename().string() + " lists for it, found also " +
                             listed(unlisted));
  }
  return files;
}

}  // namespace detail

GRAFT_PLAIN checkpoint checkpoint::open(const std::filesystem::path& folder) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(folder, ignored))
    throw checkpoint_error(folder.string() + ": expected a model's folder, found " +
                           (detail::is_file(folder) ? "a file" : "nothing there"));

  checkpoint result;
  const auto single = folder / "model.safetensors";
  const auto index_path = folder / "model.safetensors.index.json";
  if (detail::is_file(single))
    result.files_.push_back(safetensors_file::open(single));
  else if (detail::is_file(index_path))
    result.files_ = detail::open_shards(index_path);
  else if (detail::is_file(folder / "pytorch_model.bin") ||
           detail::is_file(folder / "pytorch_model.bin.index.json"))
    throw checkpoint_error(
        folder.string() +
        ": expected model.safetensors, found only pytorch_model.bin; graft reads safetensors only: "
        "convert with from_pretrained(folder).save_pretrained(folder) of Python's transformers");
  else
    throw checkpoint_error(folder.string() +
                           ": expected model.safetensors or model.safetensors.index.json, found "
                           "neither");

  const auto config_path = folder / "config.json";
  result.config_ = std::make_shared<const nlohmann::json>(read_json(config_path));
  if (!result.config().is_object())
    detail::throw_type_error(config_path.string(), "an object", result.config());
  return result;
}

GRAFT_PLAIN const tensor_entry* checkpoint::find(std::string_view name) const {
  for (const auto& file : files_)
    if (const tensor_entry* tensor = file.find(name))
      return tensor;
  return nullptr;
}

GRAFT_PLAIN std::vector<std::string> checkpoint::names() const {
  std::vector<std::string> result;
  for (const auto& file : files_)
    for (const auto& tensor : file.entries())
      result.push_back(tensor.name);
  std::sort(result.begin(), result.end());
  return result;
}

GRAFT_PLAIN std::shared_ptr<const void> checkpoint::owner_of(const tensor_entry& tensor) const {
  for (const auto& file : files_)
    if (const tensor_entry* own = file.find(tensor.name); own && own->data == tensor.data)
      return file.owner();
  throw checkpoint_error("tensor " + detail::in_quotes(tensor.name) +
                         ": expected one of this checkpoint, found another's");
}

}  // namespace graft

#endif
