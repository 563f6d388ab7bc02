// SPDX-License-Identifier: MIT
// graft::adapter_bank over the backend that a program was asked for.
#pragma once

#include "support/compute.hpp"

#include <graft/io/adapter_data.hpp>
#include <graft/model/bert.hpp>
#include <graft/model/task_kind.hpp>
#include <graft/train/examples.hpp>

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace programs {

// An adapter in a bank, or the base without any: what its head is asked. `labels` names its outputs, as far
// as names are known.
struct held_adapter {
  graft::task_kind task = graft::task_kind::classification;
  std::vector<std::string> labels;
  graft::index_t outputs = 0;

  virtual ~held_adapter() = default;
};

// The members are those of graft::adapter_bank.
struct bank {
  using handle = std::shared_ptr<const held_adapter>;

  virtual ~bank() = default;

  virtual const graft::bert_config& config() const = 0;
  // Tokens that a text may have.
  virtual graft::index_t longest() const = 0;
  virtual held_adapter base() const = 0;
  virtual handle load(const std::string& name, const graft::adapter_data& data) = 0;
  virtual void unload(std::string_view name) = 0;
  virtual std::vector<std::vector<float>> predict(std::span<const graft::example> examples,
                                                  std::span<const handle> adapters) const = 0;
};

std::unique_ptr<bank> open_bank(const compute& c, const std::string& folder);

}  // namespace programs
