// SPDX-License-Identifier: MIT
// Adapters for Python's `adapters` (AdapterHub), as its version 1.3 writes them.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/plain.hpp>
#include <graft/io/adapter_data.hpp>
#include <graft/model/bert.hpp>

#include <cstddef>
#include <cstring>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace graft {

// Writes an adapter as load_adapter(folder, use_safetensors=True) reads it, called `name`; a fusion
// as load_adapter_setup does, its adapters called a, b, c, …. A head goes along
// (adapterhub_head_of). What AdapterHub's modules share is written once. Each file appears whole or
// not at all.
//
// Throws input_error where write_adapterhub_config does, and for what AdapterHub's files cannot
// hold: other parameters of the base, rows of tables, several tasks.
GRAFT_PLAIN void write_adapterhub(const adapter_data& a, const bert_config& c, const std::string& folder,
                                  const std::string& name);

}  // namespace graft

#if GRAFT_BODIES

#include <graft/io/adapterhub_head.hpp>
#include <graft/io/adapterhub_names.hpp>
#include <graft/io/adapterhub_write_config.hpp>
#include <graft/io/checkpoint_folder.hpp>
#include <graft/io/file.hpp>
#include <graft/io/safetensors.hpp>

#include <nlohmann/json.hpp>

namespace graft {

namespace detail {

// Files that are made in memory, and written together once all of them could be made.
class adapterhub_files {
 public:
  adapterhub_files(const adapter_data& a, std::filesystem::path folder)
      : a_(a), folder_(std::move(folder)) {}

  // As Python's json has it.
  template <class Json>
  void add_json(const std::filesystem::path& path, const Json& json) {
    texts_.emplace_back(path, json.dump(2, ' ', true));
  }
  // Matrices of ours as the tensors that they lie in.
  void add_tensors(const std::filesystem::path& path,
                   const std::vector<adapterhub_tensor>& tensors) {
    std::map<std::string, filled>& files = tensors_[path];
    for (const adapterhub_tensor& t : tensors) {
      const auto found = a_.tensors.find(t.path);
      if (found == a_.tensors.end())
        throw input_error("write_adapterhub: expected values of " + t.path + ", found none");
      used_.insert(t.path);
      place(found->second, t, files[t.name]);
    }
  }
  // Throws input_error where there are values that no file has.
  void write() {
    for (const auto& [path, matrix] : a_.tensors)
      if (!used_.contains(path))
        throw input_error("write_adapterhub: expected an adapter's values and a head's, found " +
                          path);
    for (auto& [path, files] : tensors_) {
      std::vector<tensor_entry> entries;
      for (auto& [name, to] : files)
        entries.push_back({name, to.type, to.shape, to.bytes.data(), to.bytes.size()});
      create_folder((folder_ / path).parent_path());
      write_safetensors(folder_ / path, std::move(entries));
    }
    for (const auto& [path, text] : texts_)
      write_atomically(folder_ / path, [&t = text](output_file& out) { out.write(t); });
  }

 private:
  struct filled {
    dtype type;
    std::vector<index_t> shape;
    std::vector<std::byte> bytes;
  };
  static void place(const stored_matrix& m, const adapterhub_tensor& t, filled& to) {
    using shape = std::vector<index_t>;
    if (m.rows != t.rows || m.cols != t.cols)
      throw input_error("write_adapterhub: " + t.path + ": expected " +
                        described(shape{t.rows, t.cols}) + ", found " +
                        described(shape{m.rows, m.cols}));
    if (to.bytes.empty())
      to = {m.type, t.shape, std::vector<std::byte>(bytes_of(m.type, t.shape).value())};
    if (to.type != m.type)
      throw input_error("write_adapterhub: " + t.path + ": expected " +
                        std::string(name_of(to.type)) + " as in the other layers, found " +
                        std::string(name_of(m.type)));
    const std::size_t each = size_of(m.type), row = static_cast<std::size_t>(t.cols) * each;
    for (index_t i = 0; i < t.rows; ++i)
      std::memcpy(to.bytes.data() + static_cast<std::size_t>(t.first + i * t.stride) * each,
                  m.data + static_cast<std::size_t>(i) * row, row);
  }

  const adapter_data& a_;
  std::filesystem::path folder_;
  std::map<std::filesystem::path, std::map<std::string, filled>> tensors_;
  std::vector<std::pair<std::filesystem::path, std::string>> texts_;
  std::set<std::string> used_;
};

// One adapter with these decorations; `path_of` gives the paths that its values have.
template <class F>
void add_adapter(adapterhub_files& files, const std::filesystem::path& at,
                 const adapter_decorations& decorations, const bert_config& c, nlohmann::json frame,
                 const std::string& name, F&& path_of) {
  frame["config"] = write_adapterhub_config(decorations, c);
  frame["name"] = name;
  auto tensors = adapterhub_tensors(decorations, c, name);
  for (adapterhub_tensor& t : tensors)
    t.path = path_of(t.path);
  files.add_tensors(at / "adapter.safetensors", tensors);
  files.add_json(at / "adapter_config.json", frame);
}

// The decorations of a fusion's adapters: "layer.0.feed_forward_join.adapter.a" -> a, without its
// letter.
inline std::map<char, adapter_decorations> members_of(const adapter_data& a) {
  constexpr std::string_view adapter = ".adapter.";
  std::map<char, adapter_decorations> members;
  std::string other;
  for (const auto& [path, methods] : a.decorations)
    if (path.size() > adapter.size() + 1 &&
        path.compare(path.size() - adapter.size() - 1, adapter.size(), adapter) == 0)
      members[path.back()][path.substr(0, path.size() - 2)] = methods;
    else
      other = path;
  if (!members.empty() && !other.empty())
    throw input_error("write_adapterhub: expected a fusion alone, found " + other + " beside it");
  return members;
}

// … of them and the matrices that weigh them, at the places of the first.
inline void add_fusion(adapterhub_files& files, const adapter_data& a,
                       const std::map<char, adapter_decorations>& members, const bert_config& c,
                       const nlohmann::json& frame, const nlohmann::ordered_json& head) {
  constexpr std::string_view adapter = ".adapter";
  std::vector<std::string> names;
  std::string all;
  nlohmann::ordered_json setup;
  setup["adapter_setup"]["type"] = "Fuse";
  for (const auto& [letter, decorations] : members) {
    names.emplace_back(1, letter);
    all += (all.empty() ? "" : ",") + names.back();
    nlohmann::ordered_json child;
    child["type"] = "single";
    child["children"] = nlohmann::ordered_json::array({names.back()});
    setup["adapter_setup"]["children"].push_back(child);
    add_adapter(files, names.back(), decorations, c, frame, names.back(),
                [l = letter](const std::string& path) { return path_of_member(path, l); });
  }
  std::vector<adapterhub_tensor> tensors;
  adapterhub_lister lister(c, all, tensors);
  bool value = false;
  for (const auto& [path, methods] : members.begin()->second) {
    const std::string place = path.substr(0, path.size() - adapter.size());
    if (!a.tensors.contains(place + ".adapter.fusion.query.weight"))
      throw input_error(
          "write_adapterhub: expected a fusion, the one composition that AdapterHub's files "
          "have, found other adapters at " +
          place);
    value = a.tensors.contains(place + ".adapter.fusion.value.weight");
    lister.fusion(place, all, value);
  }
  nlohmann::json json = frame;
  json["adapter_names"] = names;
  json["name"] = all;
  json["config"] = {{"dropout_prob", nullptr},
                    {"key", true},
                    {"query", true},
                    {"query_before_ln", false},
                    {"regularization", value},
                    {"residual_before", false},
                    {"temperature", false},
                    {"value", value},
                    {"value_before_softmax", true},
                    {"value_initialized", value}};
  const std::filesystem::path at = all;
  files.add_tensors(at / "model_adapter_fusion.safetensors", tensors);
  files.add_json(at / "adapter_fusion_config.json", json);
  setup["head_setup"] = head;
  setup["version"] = frame.at("version");
  files.add_json("adapter_setup.json", setup);
}

}  // namespace detail

GRAFT_PLAIN void write_adapterhub(const adapter_data& a, const bert_config& c, const std::string& folder,
                                  const std::string& name) {
  if (order_of(c.family) == norm_order::before)
    throw input_error(
        "write_adapterhub: expected a model that AdapterHub has, found roberta-prelayernorm");
  if (name.empty() || name.find_first_of("./,") != std::string::npos)
    throw input_error("write_adapterhub: expected a name without '.', ',' and '/', found \"" +
                      name + "\"");
  if (!a.tasks.empty() || !a.rows.empty())
    throw input_error(
        std::string("write_adapterhub: expected an adapter of one task without rows of a "
                    "table, found ") +
        (a.rows.empty() ? "several tasks" : a.rows.begin()->first));
  const auto head = adapterhub_head_of(a, c, name);
  const auto members = detail::members_of(a);
  const auto frame = detail::adapterhub_frame(c, a.base.name, head);
  detail::adapterhub_files files(a, folder);
  std::filesystem::path at_head;
  if (members.empty()) {
    detail::add_adapter(files, "", a.decorations, c, frame, name,
                        [](const std::string& path) { return path; });
  } else {
    nlohmann::ordered_json head_setup;
    if (head && !head->flexible.empty()) {
      head_setup = head->flexible;
      at_head = head->flexible;
    } else if (head) {
      head_setup = true;
    }
    detail::add_fusion(files, a, members, c, frame, head_setup);
  }
  if (head) {
    files.add_tensors(at_head / "model_head.safetensors", head->tensors);
    files.add_json(at_head / "head_config.json", write_adapterhub_head(*head, c, a.base.name));
  }
  files.write();
}

}  // namespace graft

#endif
