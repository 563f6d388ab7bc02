// SPDX-License-Identifier: MIT
// The tensors of one of AdapterHub's files, each taken once.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/plain.hpp>
#include <graft/io/adapter_data.hpp>
#include <graft/io/adapterhub_names.hpp>
#include <graft/io/bert_names.hpp>
#include <graft/io/file.hpp>
#include <graft/io/json.hpp>
#include <graft/io/pretrained.hpp>
#include <graft/io/safetensors.hpp>
#include <graft/io/torch_file.hpp>
#include <graft/model/bert.hpp>

#include <cstddef>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace graft {

namespace detail {

// The tensors of one file, by the names that the library gives them now.
class adapterhub_weights {
 public:
  // The safetensors file of a folder or, without one, the pickle.
  adapterhub_weights(const std::filesystem::path& folder, const char* safe, const char* pickle,
                     std::string_view prefix) {
    const auto add = [&](const auto& from) {
      owner_ = from.owner();
      for (const tensor_entry& entry : from.entries())
        if (!entries_.emplace(present_name(entry.name, prefix), entry).second)
          throw checkpoint_error(file_ + ": expected one tensor " + in_quotes(entry.name) +
                                 ", found two");
    };
    if (is_file(folder / safe)) {
      file_ = (folder / safe).string();
      add(safetensors_file::open(file_));
    } else if (is_file(folder / pickle)) {
      file_ = (folder / pickle).string();
      add(torch_file::open(file_));
    } else {
      throw checkpoint_error(folder.string() + ": expected " + safe + " or " + pickle +
                             ", found neither");
    }
  }

  const std::string& file() const { return file_; }

  // The matrix of ours that lies in a tensor of the file, which is used then.
  stored_matrix take(const adapterhub_tensor& t) {
    const tensor_entry* found = nullptr;
    std::vector<std::string> names = t.twins;
    names.push_back(t.name);
    for (const std::string& name : names) {
      const auto entry = entries_.find(name);
      if (entry == entries_.end())
        continue;
      if (!found)
        check(entry->second, t);
      else if (entry->second.type != found->type || entry->second.bytes != found->bytes ||
               std::memcmp(entry->second.data, found->data, found->bytes) != 0)
        throw checkpoint_error(file_ + ": tensor " + in_quotes(name) + ": expected the values of " +
                               in_quotes(found->name) + ", found others");
      found = &entry->second;
      used_.insert(name);
    }
    if (!found)
      throw checkpoint_error(file_ + ": expected a tensor " + in_quotes(t.name) + ", found none");
    const std::size_t each = size_of(found->type);
    if (t.rows * t.cols * static_cast<index_t>(each) == static_cast<index_t>(found->bytes))
      return {found->type, t.rows, t.cols, found->data, owner_};
    auto copy =
        std::make_shared<std::vector<std::byte>>(static_cast<std::size_t>(t.rows * t.cols) * each);
    const std::size_t row = static_cast<std::size_t>(t.cols) * each;
    for (index_t i = 0; i < t.rows; ++i)
      std::memcpy(copy->data() + static_cast<std::size_t>(i) * row,
                  found->data + static_cast<std::size_t>(t.first + i * t.stride) * each, row);
    return {found->type, t.rows, t.cols, copy->data(), copy};
  }

  // Throws checkpoint_error for tensors that nobody took.
  void expect_used() const {
    std::vector<std::string> left;
    for (const auto& [name, entry] : entries_)
      if (!used_.contains(name))
        left.push_back(name);
    if (!left.empty())
      throw checkpoint_error(file_ +
                             ": expected the tensors that its configuration asks for, found " +
                             listed_names(left));
  }

 private:
  // Files before 2.0 tell task and language adapters apart; those of bare encoders lack the prefix.
  static std::string present_name(std::string name, std::string_view prefix) {
    for (const std::string_view past :
         {"attention_text_task_adapters", "attention_text_lang_adapters",
          "layer_text_task_adapters", "layer_text_lang_adapters"})
      if (const auto at = name.find(past); at != std::string::npos)
        name.replace(at, past.size(), "adapters");
    return prefix.empty() || name.starts_with(prefix) ? name : std::string(prefix) + name;
  }
  void check(const tensor_entry& entry, const adapterhub_tensor& t) const {
    if (entry.shape != t.shape || !is_number(entry.type))
      throw checkpoint_error(file_ + ": tensor " + in_quotes(entry.name) + ": expected numbers " +
                             described(t.shape) + ", found " + std::string(name_of(entry.type)) +
                             " " + described(entry.shape));
  }

  std::string file_;
  std::map<std::string, tensor_entry> entries_;
  std::shared_ptr<const void> owner_;
  std::set<std::string> used_;
};

GRAFT_PLAIN adapterhub_weights adapter_weights(const std::filesystem::path& folder,
                                               const bert_config& c);

}  // namespace detail

}  // namespace graft

#if GRAFT_BODIES

namespace graft {

namespace detail {

GRAFT_PLAIN adapterhub_weights adapter_weights(const std::filesystem::path& folder,
                                               const bert_config& c) {
  return {folder, "adapter.safetensors", "pytorch_adapter.bin", prefix_of(c.family)};
}

}  // namespace detail

}  // namespace graft

#endif
