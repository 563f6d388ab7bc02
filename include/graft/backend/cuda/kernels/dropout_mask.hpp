// SPDX-License-Identifier: MIT
// Dropout's masks as every backend draws them (core/random.hpp).
#pragma once

#include <graft/core/device_code.hpp>
#include <graft/core/layout.hpp>
#include <graft/core/random.hpp>

#include <cstdint>

namespace graft::kernels {

// Four words of one draw.
struct dropout_words {
  std::uint32_t of[4];
};

// A dropout_key, in the device's memory: it is another in every step.
struct mask_key {
  std::uint32_t key[2], place;
};

struct dropout_mask {
  float rate = 0;
  const mask_key* from = nullptr;

  GRAFT_DEVICE bool acts() const { return rate > 0; }
  GRAFT_DEVICE dropout_words words(row_name name, std::uint32_t first) const {
    dropout_words w{{first, name.token, name.example, from->place}};
    philox_rounds(w.of, from->key[0], from->key[1]);
    return w;
  }
  // 0, or what is kept is multiplied with.
  GRAFT_DEVICE float factor(const dropout_words& w, int k) const {
    const bool kept = static_cast<double>(w.of[k]) >= static_cast<double>(rate) * 0x1p32;
    return kept ? 1.0f / (1.0f - rate) : 0.0f;
  }
};

}  // namespace graft::kernels
