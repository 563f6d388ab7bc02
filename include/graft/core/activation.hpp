// SPDX-License-Identifier: MIT
// The activation functions, by the names that Hugging Face configurations give them.
#pragma once

#include <graft/core/error.hpp>

#include <string>
#include <string_view>

namespace graft {

// relu: max(x, 0). gelu: x Φ(x) with the exact error function. gelu_tanh: Hendrycks & Gimpel's tanh
// approximation. silu: x σ(x), also called swish. tanh. sigmoid: σ(x) = 1 / (1 + exp(-x)). leaky_relu: x
// above zero, x / 100 below. identity: x.
enum class activation : unsigned char {
  identity,
  relu,
  gelu,
  gelu_tanh,
  silu,
  tanh,
  sigmoid,
  leaky_relu
};

constexpr std::string_view name_of(activation f) {
  switch (f) {
    case activation::identity: return "identity";
    case activation::relu: return "relu";
    case activation::gelu: return "gelu";
    case activation::gelu_tanh: return "gelu_new";
    case activation::silu: return "silu";
    case activation::tanh: return "tanh";
    case activation::sigmoid: return "sigmoid";
    case activation::leaky_relu: return "leakyrelu";
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
  if (name == "sigmoid") return activation::sigmoid;
  if (name == "leakyrelu" || name == "leaky_relu") return activation::leaky_relu;
  if (name == "identity" || name == "linear") return activation::identity;
  throw checkpoint_error("activation \"" + std::string(name) +
                         "\": expected relu, gelu, gelu_new, silu, tanh, sigmoid, leakyrelu or identity");
}

}  // namespace graft
