// SPDX-License-Identifier: MIT
// What an adapter's file leaves out because it follows from a seed: LoRA-FA's A, VeRA's matrices.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/numbers.hpp>
#include <graft/core/part_list.hpp>
#include <graft/core/random.hpp>
#include <graft/core/site.hpp>
#include <graft/io/adapter_data.hpp>
#include <graft/io/adapter_sizes.hpp>
#include <graft/io/stored_matrix.hpp>
#include <graft/layer/linear.hpp>
#include <graft/tuning/common_weights.hpp>
#include <graft/tuning/lora_spec.hpp>
#include <graft/tuning/lora_start.hpp>
#include <graft/tuning/vera.hpp>

#include <algorithm>
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace graft {

struct map_size {
  index_t in = 0, out = 0;
};

// The sizes of a network's maps, by their paths.
template <class B>
std::map<std::string, map_size> map_sizes(const part_list<B>& parts) {
  std::map<std::string, map_size> sizes;
  for (const listed_parameter<B>& p : parts.parameters)
    if (const std::size_t dot = p.path.rfind('.');
        dot != std::string::npos && p.path.substr(dot + 1) == at::weight.name)
      sizes[p.path.substr(0, dot)] = {p.cols(), p.rows()};
  return sizes;
}

namespace detail {

template <backend B>
void add_drawn_lora(adapter_data& a, const std::string& path, const adapter_decoration& d,
                    const map_size& size) {
  const auto trained = d.form.find("train_a");
  const std::string name = joined(path, at::lora_a.name);
  if (trained == d.form.end() || trained->second != "false" || a.tensors.contains(name))
    return;
  const auto rank = d.numbers.count("rank", 0);
  if (!rank || *rank == 0)
    return;
  typename B::parameter drawn(*rank, size.in);
  random_stream random(a.seed, hash_of(path));
  draw_lora_a<B>(drawn, random);
  a.tensors[name] = stored(drawn.rows, drawn.cols, B::on_host(drawn));
  a.departed.insert(name);
}

}  // namespace detail

// Adds what an adapter lacks and its seed makes, in the backend's numbers, at those of its places that
// are among `sizes`. Throws checkpoint_error for VeRA of several ranks or seeds, of which a model has
// one pair of matrices.
template <backend B>
adapter_data with_drawn(adapter_data a, const std::map<std::string, map_size>& sizes) {
  detail::expect_modest_sizes(a);
  map_size widest;
  const decoration_numbers* shared = nullptr;
  for (const auto& [path, methods] : a.decorations)
    for (const auto& [method, decoration] : methods) {
      const auto size = sizes.find(path);
      if (size == sizes.end())
        continue;
      try {
        if (method == lora::name)
          detail::add_drawn_lora<B>(a, path, decoration, size->second);
      } catch (const input_error& e) {
        throw checkpoint_error(a.source + ": " + path + ": lora." + text_of(e));
      }
      if (method != vera::name)
        continue;
      for (const char* number : {"rank", "projection_seed"})
        if (shared && shared->find(number) != decoration.numbers.find(number))
          throw checkpoint_error(a.source + ": " + path + ": vera." + number +
                                 ": expected one for all places, found several");
      shared = &decoration.numbers;
      widest = {std::max(widest.in, size->second.in), std::max(widest.out, size->second.out)};
    }
  if (!shared || a.tensors.contains(std::string(at::vera_a.name)) ||
      a.tensors.contains(std::string(at::vera_b.name)))
    return a;
  vera_layer<linear<B, typename B::frozen_weight>> layer({widest.in, widest.out, false}, vera{});
  try {
    layer.renumber(*shared);
  } catch (const input_error& e) {
    throw checkpoint_error(a.source + ": vera." + text_of(e));
  }
  share_weights(layer);
  const auto add = [&](std::string_view name, const typename B::frozen_weight& w) {
    a.tensors[std::string(name)] = stored(w.rows, w.cols, B::on_host(w));
    a.departed.insert(std::string(name));
  };
  add(at::vera_a.name, layer.a);
  add(at::vera_b.name, layer.b);
  return a;
}

}  // namespace graft
