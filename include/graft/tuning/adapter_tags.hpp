// SPDX-License-Identifier: MIT
// Names of an adapter and of its parts.
#pragma once

#include <string_view>

namespace graft {

namespace at {
struct adapter_t {
  static constexpr std::string_view name = "adapter";
};
struct adapter_down_t {
  static constexpr std::string_view name = "down";
};
struct adapter_middle_t {
  static constexpr std::string_view name = "middle";
};
struct adapter_up_t {
  static constexpr std::string_view name = "up";
};
struct adapter_scale_t {
  static constexpr std::string_view name = "scale";
};
struct adapter_gate_t {
  static constexpr std::string_view name = "gate";
};
struct adapter_ln_before_t {
  static constexpr std::string_view name = "ln_before";
};
struct adapter_ln_after_t {
  static constexpr std::string_view name = "ln_after";
};
inline constexpr adapter_t adapter{};
inline constexpr adapter_down_t adapter_down{};
inline constexpr adapter_middle_t adapter_middle{};
inline constexpr adapter_up_t adapter_up{};
inline constexpr adapter_scale_t adapter_scale{};
inline constexpr adapter_gate_t adapter_gate{};
inline constexpr adapter_ln_before_t adapter_ln_before{};
inline constexpr adapter_ln_after_t adapter_ln_after{};
}  // namespace at

}  // namespace graft
