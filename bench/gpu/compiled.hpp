// SPDX-License-Identifier: MIT
// The backends that a benchmark was compiled with: cuda<T> for each T of GRAFT_BENCH_NUMBERS, or cpu<float>
// without; and what there is to know of the device.
#pragma once

#ifdef GRAFT_BENCH_NUMBERS
#include <graft/cuda.hpp>
#else
#include <graft/cpu.hpp>
#endif

#include "support/measure.hpp"

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace graft_bench {

// Waits for all that was launched.
template <class B>
void finish() {
  if constexpr (requires { B::device::wait(); })
    B::device::wait();
}

#ifdef GRAFT_BENCH_NUMBERS

template <class T>
std::string precision_name() {
  constexpr auto type = graft::number_type_of<T>;
  return type == graft::number_type::f32 ? "f32" : type == graft::number_type::bf16 ? "bf16" : "f16";
}

// f.operator()<B>(name of B's numbers), of those that are asked for, "" for the first.
template <class T, class... Others, class F>
void on_numbers(const std::string& precision, const F& f) {
  if (precision.empty() || precision == precision_name<T>())
    f.template operator()<graft::cuda<T>>(precision_name<T>());
  else if constexpr (sizeof...(Others) > 0)
    on_numbers<Others...>(precision, f);
  else
    throw std::invalid_argument("--precision: " + precision + " is not compiled");
}
template <class F>
void on_compiled(const std::string& precision, const F& f) {
  on_numbers<GRAFT_BENCH_NUMBERS>(precision, f);
}

inline std::string device_name() {
  int device = 0;
  cudaGetDevice(&device);
  return graft::detail::name_of_device(device);
}

inline auto& temporaries() { return graft::cuda_device::recorder().room(); }
// Bytes of graft's on the device that a measurement is not to count: what it holds before, but for the
// memory of single operations, which lasts.
inline std::size_t begin_memory() {
  temporaries().reset_peak();
  return graft::detail::cuda_memory_book::only().held() - temporaries().reserved_bytes();
}
// Bytes of lasting memory, of which nothing is given back during a training, and the most that single
// operations had besides.
inline std::size_t peak_memory() {
  return graft::detail::cuda_memory_book::only().held() - temporaries().reserved_bytes() +
         temporaries().peak_bytes();
}
// What the driver says is in use, by whomever, contexts among it.
inline std::size_t used_memory() {
  std::size_t free = 0, total = 0;
  graft::detail::expect(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  return total - free;
}

#else

template <class F>
void on_compiled(const std::string& precision, const F& f) {
  if (!precision.empty() && precision != "f32")
    throw std::invalid_argument("--precision: the CPU computes in f32");
  f.template operator()<graft::cpu<float>>("f32");
}
inline std::string device_name() { return "cpu"; }
inline std::size_t begin_memory() { return 0; }
inline std::size_t peak_memory() { return peak_bytes(); }
inline std::size_t used_memory() { return 0; }

#endif

}  // namespace graft_bench
