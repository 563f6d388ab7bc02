// SPDX-License-Identifier: MIT
// Matrix products on a device: by the kernels for thin matrices where they take them, else by the device's
// own, which wants both factors in one type of number.
#pragma once

#include <graft/backend/cuda/device_view.hpp>
#include <graft/backend/cuda/kernels/thin_product.hpp>
#include <graft/backend/cuda/product.hpp>
#include <graft/backend/cuda/staging.hpp>

#include <algorithm>
#include <type_traits>
#include <utility>

namespace graft::detail {

// Low-rank updates: a product of numbers of 16 bits with a parameter that makes few columns or has few
// summands, or of such numbers turned that has few rows or columns. False for any other.
template <class T, class Device>
bool thin_product_on(const device_product& p) {
  if constexpr (number_type_of<T> != number_type::f32) {
    constexpr number_type narrow = number_type_of<T>;
    if (p.bias.data || p.x.type != narrow || !Device::tensor_cores())
      return false;
    if (!p.turn_x && p.w.type == number_type::f32) {
      if (p.inner() <= kernels::thin && p.y.type == narrow) {
        const kernels::thin_inner_product<T> k{p.y, p.x, p.w, p.turn_w, p.s, p.add};
        Device::warps(k.units(), k);
        return true;
      }
      if (p.y.cols <= kernels::thin) {
        const kernels::thin_product<T> k{p.y, p.x, p.w, p.turn_w, p.s, p.add};
        Device::warps(k.units(), k);
        return true;
      }
    }
    if (p.turn_x && !p.turn_w && p.w.type == narrow && std::min(p.y.rows, p.y.cols) <= kernels::thin) {
      const bool turned = p.y.rows < p.y.cols;
      const const_device_view wide = turned ? p.w : p.x, few = turned ? p.x : p.w;
      constexpr index_t most_blocks = 128, least_rows = 64;
      const index_t rows =
          std::max(least_rows, ((wide.rows + most_blocks - 1) / most_blocks + 15) / 16 * 16);
      const index_t width = (wide.cols + 63) / 64 * 64;
      const scratch_matrix<Device> sums((wide.rows + rows - 1) / rows, few.cols * width,
                                        number_type::f32);
      const kernels::thin_sums<T> k{sums, wide, few, rows, width};
      Device::warps(k.units(), k);
      Device::warps(sums.cols / 32, kernels::fold_thin_sums{p.y, sums, width, turned, p.s, p.add});
      return true;
    }
  }
  return false;
}

// Of matrices of any types, B being the backend: in 16 bits where either factor is, and only such are
// multiplied into 16 bits.
template <class B>
void product_on(device_product p) {
  using T = typename B::number;
  using Device = typename B::device;
  using scratch = scratch_matrix<Device>;
  p.tf32 = std::is_same_v<T, tf32>;
  if (p.y.rows == 0 || p.y.cols == 0)
    return;
  if (p.inner() == 0) {
    if (!p.add)
      B::fill(p.y, 0);
    if (p.bias.data)
      B::add_row(p.y, p.bias);
    return;
  }
  if (thin_product_on<T, Device>(p))
    return;
  const bool exact = p.x.type == number_type::f32 && p.w.type == number_type::f32;
  if (p.bias.data && p.bias.type != (exact ? number_type::f32 : p.y.type)) {
    const const_device_view bias = std::exchange(p.bias, {});
    product_on<B>(p);
    B::add_row(p.y, bias);
    return;
  }
  if (p.x.type != p.w.type) {
    const_device_view& other = p.x.type == number_type_of<T> ? p.w : p.x;
    const scratch same(other.rows, other.cols, number_type_of<T>);
    B::copy(same, other);
    other = same;
    Device::product(p);
  } else if (exact && p.y.type != number_type::f32) {
    const scratch wide(p.y.rows, p.y.cols, number_type::f32);
    if (p.add)
      B::copy(wide, p.y);
    const device_view y = std::exchange(p.y, wide);
    Device::product(p);
    B::copy(y, wide);
  } else {
    Device::product(p);
  }
}

}  // namespace graft::detail
