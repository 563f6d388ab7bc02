// SPDX-License-Identifier: MIT
// How oneDNN 2 is asked for a product.
#pragma once

#include <dnnl.hpp>

namespace graft::detail {

// y = x w + bias; an empty bias is none.
inline dnnl::matmul::primitive_desc matmul_of(const dnnl::engine& processor, const dnnl::memory::desc& x,
                                              const dnnl::memory::desc& w, const dnnl::memory::desc& bias,
                                              const dnnl::memory::desc& y, const dnnl::primitive_attr& attributes) {
  if (bias.get_size() == 0)
    return {dnnl::matmul::desc(x, w, y), attributes, processor};
  return {dnnl::matmul::desc(x, w, bias, y), attributes, processor};
}

}  // namespace graft::detail
