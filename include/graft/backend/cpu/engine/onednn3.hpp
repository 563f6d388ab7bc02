// SPDX-License-Identifier: MIT
// How oneDNN 3 is asked for a product.
#pragma once

#include <dnnl.hpp>

namespace graft::detail {

// y = x w + bias; an empty bias is none.
inline dnnl::matmul::primitive_desc matmul_of(const dnnl::engine& processor, const dnnl::memory::desc& x,
                                              const dnnl::memory::desc& w, const dnnl::memory::desc& bias,
                                              const dnnl::memory::desc& y, const dnnl::primitive_attr& attributes) {
  if (bias.get_size() == 0)
    return {processor, x, w, y, attributes};
  return {processor, x, w, bias, y, attributes};
}

}  // namespace graft::detail
