// SPDX-License-Identifier: MIT
// The pickle of a PyTorch state dict, read by a machine that can build tensors and nothing else.
#pragma once

#include <graft/core/error.hpp>
#include <graft/io/dtype.hpp>
#include <graft/io/json.hpp>
#include <graft/io/pickle_machine.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace graft {

namespace detail {

// Reads one pickle, whose storages are the file's entries of these names.
class torch_unpickler : pickle_machine {
 public:
  using storages = std::map<std::string, std::span<const std::byte>, std::less<>>;

  torch_unpickler(std::span<const std::byte> bytes, const storages& of, const std::string& file)
      : pickle_machine({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, file),
        storages_(of) {}

  std::map<std::string, pickled_tensor, std::less<>> state_dict() {
    if (size() > pickle_bytes_limit)
      refuse("expected a pickle of at most " + std::to_string(pickle_bytes_limit) +
             " bytes, found " + std::to_string(size()));
    run();
    const dict* all = get_if<dict>(pop());
    if (!all || !empty())
      refuse("expected one dictionary of tensors, found something else");
    std::map<std::string, pickled_tensor, std::less<>> tensors;
    for (const auto& [key, held] : all->items) {
      const auto* name = get_if<std::string_view>(key);
      if (!name)
        refuse("expected names as keys of the dictionary, found something else");
      const auto* tensor = get_if<pickled_tensor>(held);
      if (!tensor)
        refuse(in_quotes(*name) + ": expected a tensor, found something else");
      if (!tensors.emplace(*name, *tensor).second)
        refuse(in_quotes(*name) + ": expected one tensor of this name, found two");
    }
    return tensors;
  }

 private:
  void run() {
    for (;;) {
      const char code = opcode();
      switch (code) {
        case '\x80': protocol(unsigned_number(1)); break;
        case '(': mark(); break;
        case 'N': push(none{}); break;
        case '\x88': push(true); break;
        case '\x89': push(false); break;
        case 'K': push(std::int64_t{unsigned_number(1)}); break;
        case 'M': push(std::int64_t{unsigned_number(2)}); break;
        case 'J': push(std::int64_t{static_cast<std::int32_t>(unsigned_number(4))}); break;
        case '\x8a': push(long_number()); break;
        case 'X': push(take(unsigned_number(4))); break;
        case ')': push(tuple{}); break;
        case '\x85': push(tuple{pop_last(1)}); break;
        case '\x86': push(tuple{pop_last(2)}); break;
        case '\x87': push(tuple{pop_last(3)}); break;
        case 't': push(tuple{pop_marked()}); break;
        case '}': push(dict{}); break;
        case 's': set_items(pop_last(2)); break;
        case 'u': set_items(pop_marked()); break;
        case 'q': remember(unsigned_number(1)); break;
        case 'r': remember(unsigned_number(4)); break;
        case 'h': recall(unsigned_number(1)); break;
        case 'j': recall(unsigned_number(4)); break;
        case 'c': push(global()); break;
        case 'Q': push(persistent(pop())); break;
        case 'R': reduce(); break;
        case 'b': build(); break;
        case '.':
          if (!at_end())
            refuse("expected the pickle to end here, found more");
          return;
        default:
          refuse("expected an opcode that state dicts are written with, found " +
                 std::to_string(static_cast<unsigned char>(code)));
      }
    }
  }

  void protocol(std::uint32_t version) const {
    if (version != 2)
      refuse("expected a pickle of protocol 2, found " + std::to_string(version));
  }
  void set_items(const std::vector<number>& items) {
    if (items.size() % 2 != 0)
      refuse("expected keys and values, found " + std::to_string(items.size()) + " of both");
    dict* to = change_if<dict>(top());
    if (!to)
      refuse("expected a dictionary to put items into, found something else");
    for (std::size_t i = 0; i < items.size(); i += 2)
      to->items.emplace_back(items[i], items[i + 1]);
  }
  const known_global* global() {
    const auto module = line(), name = line();
    for (const known_global& known : known_globals)
      if (known.module == module && known.name == name)
        return &known;
    refuse("expected nothing but tensors, found " +
           in_quotes(std::string(module) + "." + std::string(name)) +
           " (a reader of tensors executes nothing)");
  }

  // ("storage", type, key, where it was, elements)
  storage persistent(number id) const {
    const auto& parts = get<tuple>(id, "a storage's description").items;
    if (parts.size() != 5 || get<std::string_view>(parts[0], "a storage") != "storage")
      refuse("expected a storage of five parts, found something else");
    const auto& type = *get<const known_global*>(parts[1], "a storage's type");
    if (type.what != torch_global::storage)
      refuse("expected a storage's type, found " + in_quotes(type.name));
    const auto key = get<std::string_view>(parts[2], "a storage's key");
    const auto found = storages_.find(key);
    if (found == storages_.end())
      refuse("expected a storage that the file has, found " + in_quotes(key));
    const std::size_t elements = count(parts[4], "a storage's size");
    if (elements != found->second.size() / size_of(type.type) ||
        found->second.size() % size_of(type.type) != 0)
      refuse("storage " + in_quotes(key) + ": expected " + std::to_string(elements) +
             " elements of " + std::string(name_of(type.type)) + ", found " +
             std::to_string(found->second.size()) + " bytes");
    return {type.type, found->second};
  }

  void reduce() {
    const number arguments = pop();
    const auto& with = get<tuple>(arguments, "arguments").items;
    const auto& call = *get<const known_global*>(pop(), "something to make a tensor with");
    if (call.what == torch_global::ordered_dict && with.empty()) {
      push(dict{});
    } else if (call.what == torch_global::rebuild_tensor && with.size() == 6) {
      push(tensor(with));
    } else if (call.what == torch_global::rebuild_parameter && with.size() == 3) {
      push(get<pickled_tensor>(with[0], "a tensor"));
    } else {
      refuse("expected a call that makes a tensor, found " + in_quotes(call.name) + " with " +
             std::to_string(with.size()) + " arguments");
    }
  }

  // (storage, offset, shape, strides, trained, hooks)
  pickled_tensor tensor(const std::vector<number>& parts) const {
    const auto& over = get<storage>(parts[0], "a storage");
    const auto& shape = get<tuple>(parts[2], "a shape").items;
    const auto& strides = get<tuple>(parts[3], "strides").items;
    if (!get<dict>(parts[5], "no hooks").items.empty())
      refuse("expected a tensor without hooks, found one with them");
    if (shape.size() != strides.size() || shape.size() > tensor_rank_limit)
      refuse("expected at most " + std::to_string(tensor_rank_limit) +
             " sizes and as many strides, found " + std::to_string(shape.size()) + " and " +
             std::to_string(strides.size()));
    pickled_tensor t{over.type, over.bytes, count(parts[1], "an offset"), {}, {}};
    const std::size_t room = over.bytes.size() / size_of(over.type);
    bool empty = false, within = t.offset <= room;
    std::size_t last = t.offset, elements = 1;
    for (std::size_t i = 0; i < shape.size(); ++i) {
      const std::size_t size = count(shape[i], "a size"), stride = count(strides[i], "a stride");
      t.shape.push_back(static_cast<index_t>(size));
      t.strides.push_back(static_cast<index_t>(stride));
      empty = empty || size == 0;
      if (size < 2)
        continue;
      // Elements may lie twice in a tensor (stride 0), but it has no more than its storage.
      within = within && last < room && elements <= room / size &&
               (stride == 0 || size - 1 <= (room - 1 - last) / stride);
      if (within) {
        elements *= size;
        last += (size - 1) * stride;
      }
    }
    if (!empty && !(within && last < room))
      refuse("expected a tensor within its storage of " + std::to_string(room) +
             " elements, found one beyond");
    return t;
  }

  // The attributes of a dictionary (a module's versions) say nothing of its tensors.
  void build() {
    const number attributes = pop();
    get<dict>(attributes, "attributes");
    get<dict>(top(), "a dictionary that has them");
  }

  const storages& storages_;
};

}  // namespace detail

}  // namespace graft
