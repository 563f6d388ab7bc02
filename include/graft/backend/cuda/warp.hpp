// SPDX-License-Identifier: MIT
// 32 lanes that work on one thing together: a warp of a GPU, or a loop on the host, which adds in the
// same order.
#pragma once

#include <graft/core/device_code.hpp>
#include <graft/core/view.hpp>

#include <cmath>

namespace graft {

// A number for each lane. On a GPU a lane has its own alone.
template <class T>
struct per_lane {
#ifdef __CUDA_ARCH__
  T own{};
  __device__ T& operator[](int) { return own; }
  __device__ const T& operator[](int) const { return own; }
#else
  T all[32]{};
  T& operator[](int lane) { return all[lane]; }
  const T& operator[](int lane) const { return all[lane]; }
#endif
};

struct warp {
  static constexpr int size = 32;
  int lane = 0;

  // f(lane) for each.
  template <class F>
  GRAFT_DEVICE void lanes(const F& f) const {
#ifdef __CUDA_ARCH__
    f(lane);
#else
    for (int l = 0; l < size; ++l)
      f(l);
#endif
  }
  // f(j) for j = 0 … n − 1, 32 of them at a time.
  template <class F>
  GRAFT_DEVICE void each(index_t n, const F& f) const {
    lanes([&](int l) {
      for (index_t j = l; j < n; j += size)
        f(j);
    });
  }

  // Of all lanes, known to all.
  GRAFT_DEVICE float sum(per_lane<float> v) const {
    return folded(v, [](float a, float b) { return a + b; });
  }
  GRAFT_DEVICE float max(per_lane<float> v) const {
    return folded(v, [](float a, float b) { return a < b ? b : a; });
  }
  GRAFT_DEVICE float of(const per_lane<float>& v, int from) const {
#ifdef __CUDA_ARCH__
    return __shfl_sync(0xffffffffu, v.own, from);
#else
    return v[from];
#endif
  }
  // For lane l what lane l ^ step has.
  template <class T>
  GRAFT_DEVICE per_lane<T> across(const per_lane<T>& v, int step) const {
    per_lane<T> other;
#ifdef __CUDA_ARCH__
    other.own = __shfl_xor_sync(0xffffffffu, v.own, step);
#else
    for (int l = 0; l < size; ++l)
      other[l] = v[l ^ step];
#endif
    return other;
  }

  // Σ f(j) and max f(j) over j = 0 … n − 1.
  template <class F>
  GRAFT_DEVICE float sum(index_t n, const F& f) const {
    per_lane<float> part;
    lanes([&](int l) {
      for (index_t j = l; j < n; j += size)
        part[l] += f(j);
    });
    return sum(part);
  }
  template <class F>
  GRAFT_DEVICE float max(index_t n, const F& f) const {
    per_lane<float> part;
    lanes([&](int l) {
      part[l] = -HUGE_VALF;
      for (index_t j = l; j < n; j += size) {
        const float x = f(j);
        part[l] = part[l] < x ? x : part[l];
      }
    });
    return max(part);
  }

 private:
  // Lane l with lane l ^ 16, then ^ 8, …: all end with the same.
  template <class F>
  GRAFT_DEVICE float folded(per_lane<float> v, const F& f) const {
#ifdef __CUDA_ARCH__
    for (int step = size / 2; step > 0; step /= 2)
      v.own = f(v.own, __shfl_xor_sync(0xffffffffu, v.own, step));
    return v.own;
#else
    for (int step = size / 2; step > 0; step /= 2) {
      const per_lane<float> before = v;
      for (int l = 0; l < size; ++l)
        v[l] = f(before[l], before[l ^ step]);
    }
    return v[0];
#endif
  }
};

}  // namespace graft
