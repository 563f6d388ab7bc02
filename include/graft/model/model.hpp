// SPDX-License-Identifier: MIT
// A model: a network and the one store that owns its trained parameters.
#pragma once

#include <graft/core/demand.hpp>
#include <graft/core/layer.hpp>
#include <graft/core/store.hpp>
#include <graft/tuning/occupant.hpp>

#include <cstdint>
#include <set>
#include <string>
#include <utility>

namespace graft {

// What the root of a model is asked for while training: its inputs have no gradient.
inline constexpr demand training_demand{false, params::all};
// … and while predicting: nothing at all.
inline constexpr demand inference_demand{false, params::none};

// Moves; a copy is `clone()`. Frozen weights are shared by clones and by models loaded from one file.
template <class Network>
struct model {
  using network_type = Network;
  using backend_type = typename Network::backend_type;
  using input_type = typename Network::input_type;
  using gradient = gradient_t<Network>;
  using training_cache = cache_t<Network, training_demand>;

  Network network;
  parameter_store<backend_type> parameters;
  std::uint64_t initial_seed = 0;  // of what was freshly initialised
  // Paths of frozen values that are no longer those of the checkpoint (model/regraft.hpp).
  std::set<std::string> departed;

  model() = default;
  model(Network n, std::uint64_t seed, const decoration_numbers& numbers = {},
        base_values base = base_values::fresh)
      : network(std::move(n)), initial_seed(seed) {
    prepare(network, seed, numbers, base);
    parameters = gather(network);
  }
  model(model&&) noexcept = default;
  model& operator=(model&&) noexcept = default;

  void clone_into(model& copy) const {
    copy.network = network;
    copy.initial_seed = initial_seed;
    copy.departed = departed;
    copy.parameters = gather(copy.network);
    for (std::size_t i = 0; i < parameters.segments.size(); ++i)
      copy.parameters.segments[i] = parameters.segments[i];
  }
  model clone() const {
    model copy;
    clone_into(copy);
    return copy;
  }

  // Outputs without anything kept for backward.
  auto predict(const input_type& input, const context<backend_type>& k) const {
    cache_t<Network, inference_demand> none;
    return network.template forward<inference_demand>(input, none, k);
  }
};

}  // namespace graft
