// SPDX-License-Identifier: MIT
// Attention on a device: by the kernels on tensor cores where they take it, else by those for any numbers.
#pragma once

#include <graft/backend/cuda/device_view.hpp>
#include <graft/backend/cuda/kernels/attention.hpp>
#include <graft/backend/cuda/kernels/tiled_attention.hpp>
#include <graft/backend/cuda/kernels/tiled_attention_keys.hpp>
#include <graft/backend/cuda/kernels/tiled_attention_queries.hpp>
#include <graft/backend/cuda/staging.hpp>
#include <graft/core/backend.hpp>
#include <graft/core/error.hpp>
#include <graft/core/layout.hpp>

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

namespace graft::detail {

// What the kernels for any numbers are told. Throws shape_error for heads wider than kernels::widest_head.
template <class Device>
class staged_attention {
 public:
  staged_attention(const attention_call<float>& call, const_device_view q, const_device_view v)
      : queries_(*call.queries),
        keys_(*call.keys),
        names_(call.queries->names, true),
        mask_(call.dropout, call.key) {
    for (const index_t width : {q.cols / call.heads, v.cols / call.heads})
      if (width > kernels::widest_head)
        throw shape_error("attention: expected heads of at most " +
                          std::to_string(kernels::widest_head) + ", found " + std::to_string(width));
    shape = {queries_.map(), keys_.map(), call.heads, call.scale, mask_.mask(), names_.data()};
  }
  kernels::attention_shape shape;

 private:
  staged_rows<Device> queries_, keys_;
  staged_values<Device, row_name> names_;
  staged_mask<Device> mask_;
};

// What those on tensor cores are told …
template <class Device>
class staged_tiled_attention {
 public:
  explicit staged_tiled_attention(const attention_call<float>& call)
      : names_(call.dropout > 0 ? std::span<const row_name>(call.queries->names)
                                : std::span<const row_name>(),
               true),
        mask_(call.dropout, call.key) {
    shape = {call.heads, call.scale, mask_.mask(), names_.data()};
  }
  kernels::tiled_attention_shape shape;

 private:
  staged_values<Device, row_name> names_;
  staged_mask<Device> mask_;
};

// … and their work.
template <class Device>
class staged_tiles : public staged_values<Device, kernels::row_tile> {
 public:
  staged_tiles(const layout& rows, const layout& others, index_t height)
      : staged_tiles(tiles_of_rows(rows, others, height)) {}
  const index_t count;

 private:
  explicit staged_tiles(const std::vector<kernels::row_tile>& tiles)
      : staged_values<Device, kernels::row_tile>(tiles), count(static_cast<index_t>(tiles.size())) {}
};

// f(the size of the heads, as a type) if the kernels on tensor cores take it: numbers of 16 bits in rows
// that begin at multiples of 16 bytes.
template <class T, class Device, class F>
bool with_tiles(const F& f, const attention_call<float>& call,
                std::initializer_list<const_device_view> all) {
  if constexpr (sizeof(T) == 2) {
    const index_t width = all.begin()->cols;
    for (const const_device_view& x : all)
      if (x.type != number_type_of<T> || x.cols != width || x.stride % 8 != 0 ||
          reinterpret_cast<std::uintptr_t>(x.data) % 16 != 0)
        return false;
    if (!(call.scale > 0) || !Device::tensor_cores())
      return false;
    switch (width == width / call.heads * call.heads ? width / call.heads : 0) {
      case 32: f(std::integral_constant<int, 32>{}); return true;
      case 64: f(std::integral_constant<int, 64>{}); return true;
      case 128: f(std::integral_constant<int, 128>{}); return true;
      default: return false;
    }
  }
  return false;
}

template <class T, class Device>
void attention_on(device_view y, device_view logs, const_device_view q, const_device_view k,
                  const_device_view v, const attention_call<float>& call) {
  const auto tiled = [&](auto size) {
    using kernel = kernels::tiled_attention<T, size>;
    const staged_tiled_attention<Device> a(call);
    const staged_tiles<Device> tiles(*call.queries, *call.keys, kernel::rows);
    Device::blocks(tiles.count * call.heads, kernel{y, logs, q, k, v, a.shape, tiles.data()});
  };
  if (with_tiles<T, Device>(tiled, call, {y, q, k, v}))
    return;
  const staged_attention<Device> a(call, q, v);
  Device::warps(q.rows * call.heads, kernels::attention{y, logs, q, k, v, a.shape});
}

template <class T, class Device>
void attention_backward_on(device_view dq, device_view dk, device_view dv, const_device_view dy,
                           const_device_view q, const_device_view k, const_device_view v,
                           const_device_view logs, const attention_call<float>& call) {
  using scratch = scratch_matrix<Device>;
  const auto tiled = [&](auto size) {
    using of_queries = kernels::tiled_attention_queries<T, size>;
    using of_keys = kernels::tiled_attention_keys<T, size>;
    const scratch two(call.heads, 2 * q.rows, number_type::f32);
    auto* const statistics = static_cast<kernels::query_statistics*>(two.data);
    const staged_tiled_attention<Device> a(call);
    const staged_tiles<Device> queries(*call.queries, *call.keys, of_queries::rows);
    const staged_tiles<Device> keys(*call.keys, *call.queries, of_keys::rows);
    Device::blocks(queries.count * call.heads,
                   of_queries{dq, statistics, dy, q, k, v, logs, a.shape, queries.data()});
    Device::blocks(keys.count * call.heads,
                   of_keys{dk, dv, dy, q, k, v, statistics, a.shape, keys.data()});
  };
  if (with_tiles<T, Device>(tiled, call, {dq, dk, dv, dy, q, k, v}))
    return;
  const staged_attention<Device> a(call, q, v);
  const scratch dots(q.rows, call.heads, number_type::f32);
  Device::warps(q.rows * call.heads,
                kernels::attention_queries{dq, dots, dy, q, k, v, logs, a.shape});
  Device::warps(k.rows * call.heads,
                kernels::attention_keys{dk, dv, dy, q, k, v, logs, dots, a.shape});
}

}  // namespace graft::detail
