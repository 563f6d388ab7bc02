// SPDX-License-Identifier: MIT
// The activation functions, by the names that Hugging Face configurations give them.
#pragma once

#include <graft/core/error.hpp>

#include <string>
#include <string_view>

namespace graft {

// relu: max(x, 0). gelu: x Φ(x) with the exact error function. gelu_tanh: Hendrycks & Gimpel's tanh
// approximation. silu: x σ(x), also called swish. tanh. identity: x.
enum class activation : unsigned char { identity, relu, gelu, gelu_tanh, silu, tanh };

constexpr std::string_view name_of(activation f) {
  switch (f) {
    case activation::identity: return "identity";
    case activation::relu: return "relu";
    case activation::gelu: return "gelu";
    case activation::gelu_tanh: return "gelu_new";
    case activation::silu: return "silu";
    case activation::tanh: return "tanh";
  }
  return "?";
}

// The activation a configuration names. Throws checkpoint_error for a name graft does not have.
inline activation activation_named(std::string_view name) {
  if (name == "relu") return activation::relu;
  if (name == "gelu" || name == "gelu_python") return activation::gelu;
  if (name == "gelu_new" || name == "gelu_pytorch_tanh" || name == "gelu_fast")
    return activation::gelu_tanh;
  if (name == "silu" || name == "swish") return activation::silu;
  if (name == "tanh") return activation::tanh;
  if (name == "identity" || name == "linear") return activation::identity;
  throw checkpoint_error("activation \"" + std::string(name) +
                         "\": expected relu, gelu, gelu_new, silu, tanh or identity");
}

}  // namespace graft
