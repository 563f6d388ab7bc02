// SPDX-License-Identifier: MIT
// The memory of a training step, before it is made.
#pragma once

#include <graft/core/context.hpp>
#include <graft/core/layout.hpp>
#include <graft/core/part_list.hpp>
#include <graft/model/model.hpp>
#include <graft/model/tokens.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace graft {

// Bytes: of frozen values (those in mapped files, too), of what is trained, of its gradient and AdamW's two
// moments, and of what forward keeps for backward, per token of sequences of `length` tokens.
struct step_memory {
  std::size_t frozen = 0, trained = 0, gradient = 0, moments = 0;
  index_t length = 0;
  double kept_per_token = 0;

  // All of a step over so many tokens but what it needs in passing.
  double of(index_t tokens) const {
    return static_cast<double>(frozen + trained + gradient + moments) + kept_per_token * static_cast<double>(tokens);
  }
};

namespace detail {

// What forward of `sequences` sequences of `length` tokens has kept at its end, its output let go.
template <class Model>
std::size_t kept_by_forward(const Model& model, index_t sequences, index_t length) {
  using B = typename Model::backend_type;
  typename B::workspace memory;
  typename Model::training_cache cache;
  token_batch batch;
  const std::vector<std::int32_t> ids(static_cast<std::size_t>(length), 1);
  for (index_t s = 0; s < sequences; ++s)
    batch.append(ids, {}, static_cast<std::uint32_t>(s), model.config.first_position);
  const context<B> k{memory, batch.rows};
  model.network.template forward<training_demand>(batch, cache, k);
  return memory.bytes_in_use();
}

template <class Model>
index_t longest_of(const Model& model) {
  if constexpr (requires { model.network.bert.longest(model.config); })
    return model.network.bert.longest(model.config);
  else
    return model.config.longest();
}

}  // namespace detail

// What the types keep is asked of them: forward runs over one sequence and over two, and what the second adds is
// what tokens cost.
template <class Model>
step_memory step_memory_of(const Model& model, index_t length = 64) {
  using scalar = typename Model::backend_type::scalar;
  step_memory m;
  const std::size_t number = sizeof(scalar);
  const auto trained = static_cast<std::size_t>(model.parameters.size());
  m.trained = m.gradient = trained * number;
  m.moments = 2 * trained * number;
  for (const auto& p : list_parts(model.network).parameters)
    if (!p.trained && p.data())
      m.frozen += static_cast<std::size_t>(p.size()) * number;
  for_each_layer(model.network, [&](const std::string&, const auto& layer) {
    if constexpr (requires { layer.weight_codes->bytes(); })
      if (layer.weight_codes)
        m.frozen += layer.weight_codes->bytes();
  });
  m.length = std::min(length, detail::longest_of(model));
  const std::size_t one = detail::kept_by_forward(model, 1, m.length);
  const std::size_t two = detail::kept_by_forward(model, 2, m.length);
  m.kept_per_token = static_cast<double>(two - one) / static_cast<double>(m.length);
  return m;
}

// A line each.
inline std::string describe(const step_memory& m) {
  std::string text;
  const auto line = [&](std::string_view name, double bytes, const char* unit) {
    char number[64];
    std::snprintf(number, sizeof number, "%12.3f %s\n", bytes, unit);
    text.append(name).append(name.size() < 28 ? 28 - name.size() : 1, ' ').append(number);
  };
  line("frozen weights", static_cast<double>(m.frozen) / 1e6, "MB");
  line("trained", static_cast<double>(m.trained) / 1e6, "MB");
  line("gradient and AdamW's moments", static_cast<double>(m.gradient + m.moments) / 1e6, "MB");
  const std::string unit = "kB per token of sequences of " + std::to_string(m.length);
  line("kept for backward", m.kept_per_token / 1e3, unit.c_str());
  return text;
}

}  // namespace graft
