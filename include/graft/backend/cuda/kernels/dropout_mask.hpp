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

struct dropout_mask {
  float rate = 0;
  std::uint32_t key[2] = {0, 0};
  std::uint32_t place = 0;

  dropout_mask() = default;
  dropout_mask(float r, const dropout_key& k)
      : rate(r), key{k.key[0], k.key[1]}, place(k.place) {}

  GRAFT_DEVICE bool acts() const { return rate > 0; }
  GRAFT_DEVICE dropout_words words(row_name name, std::uint32_t first) const {
    dropout_words w{{first, name.token, name.example, place}};
    philox_rounds(w.of, key[0], key[1]);
    return w;
  }
  // 0, or what is kept is multiplied with.
  GRAFT_DEVICE float factor(const dropout_words& w, int k) const {
    const bool kept = static_cast<double>(w.of[k]) >= static_cast<double>(rate) * 0x1p32;
    return kept ? 1.0f / (1.0f - rate) : 0.0f;
  }
};

}  // namespace graft::kernels
