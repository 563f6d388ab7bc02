// SPDX-License-Identifier: MIT
// A device whose memory is the host's and whose kernels are loops: the GPU backend with everything of it
// but the launches and cuBLAS.
#pragma once

#include <graft/backend/cuda/gpu.hpp>
#include <graft/backend/host.hpp>

#include <cstddef>
#include <cstdlib>
#include <cstring>

namespace graft_test {

struct emulated_device : graft::host_memory {
  static void zero(void* data, std::size_t bytes) { std::memset(data, 0, bytes); }
  // Filled with not-a-numbers of either size: nobody may count on what is in it.
  class temporary {
   public:
    explicit temporary(std::size_t bytes) : data_(std::malloc(bytes + 1)) {
      std::memset(data_, 0xff, bytes);
    }
    temporary(const temporary&) = delete;
    temporary& operator=(const temporary&) = delete;
    ~temporary() { std::free(data_); }
    void* data() const { return data_; }

   private:
    void* data_;
  };
  static void upload(void* to, const void* from, std::size_t bytes) {
    if (bytes > 0)
      std::memcpy(to, from, bytes);
  }
  static void download(void* to, const void* from, std::size_t bytes) { upload(to, from, bytes); }
  static void wait() {}

  template <class K>
  static void each(graft::index_t rows, graft::index_t cols, const K& kernel) {
    for (graft::index_t i = 0; i < rows; ++i)
      for (graft::index_t j = 0; j < cols; ++j)
        kernel(i, j);
  }
  template <class K>
  static void warps(graft::index_t n, const K& kernel) {
    for (graft::index_t i = 0; i < n; ++i)
      kernel(graft::warp{}, i);
  }
  static bool tensor_cores() { return true; }
  // (In memory of not-a-numbers, too.)
  template <class K>
  static void blocks(graft::index_t n, const K& kernel, bool backwards = false) {
    for (graft::index_t i = 0; i < n; ++i) {
      const temporary shared(K::shared_bytes);
      kernel(graft::warp_block<K::warps>{static_cast<std::byte*>(shared.data()), 0, 0, backwards}, i);
    }
  }
  static void product(const graft::device_product& p) {
    for (graft::index_t i = 0; i < p.y.rows; ++i)
      for (graft::index_t j = 0; j < p.y.cols; ++j) {
        float sum = 0;
        for (graft::index_t k = 0; k < p.inner(); ++k)
          sum += (p.turn_x ? p.x(k, i) : p.x(i, k)) * (p.turn_w ? p.w(j, k) : p.w(k, j));
        p.y.set(i, j, p.s * sum + (p.add ? p.y(i, j) : 0.0f) + (p.bias.data ? p.bias(0, j) : 0.0f));
      }
  }
};

template <class T>
using emulated = graft::gpu<T, emulated_device>;

}  // namespace graft_test
