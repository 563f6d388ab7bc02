// SPDX-License-Identifier: MIT
// Where a program computes and in which numbers: --backend and --precision. A build with GRAFT_CUDA has the
// GPU backend in the numbers that GRAFT_GPU_PRECISIONS lists.
#pragma once

#include <graft/backend/cpu.hpp>
#include <graft/core/error.hpp>
#ifdef GRAFT_PROGRAM_NUMBERS
#include <graft/backend/cuda.hpp>
#endif

#include <CLI/CLI.hpp>

#include <string>
#include <string_view>

namespace programs {

struct compute {
  std::string backend = "cpu", precision = "f32";
};

// Adds --backend and --precision.
void add_compute(CLI::App& app, compute& c);

// Throws CLI::ValidationError for numbers that a backend does not have, graft::error for a backend that this
// build does not have, or no device for.
void check_compute(const compute& c);

// "cpu f32"
inline std::string text_of(const compute& c) { return c.backend + " " + c.precision; }
// The options that ask for it, "" for what is computed with unasked.
std::string options_of(const compute& c);

#ifdef GRAFT_PROGRAM_NUMBERS
namespace detail {

template <class T>
constexpr std::string_view precision_name() {
  constexpr auto type = graft::number_type_of<T>;
  return type == graft::number_type::f32    ? "f32"
         : type == graft::number_type::bf16 ? "bf16"
                                            : "f16";
}

template <class T, class... Others, class F>
auto on_cuda(const compute& c, const F& f) {
  if constexpr (sizeof...(Others) > 0)
    if (c.precision != precision_name<T>())
      return on_cuda<Others...>(c, f);
  return f.template operator()<graft::cuda<T>>();
}

}  // namespace detail
#endif

// f.operator()<B>() for the backend B that a checked `c` names.
template <class F>
auto on_backend([[maybe_unused]] const compute& c, const F& f) {
#ifdef GRAFT_PROGRAM_NUMBERS
  if (c.backend == "cuda")
    return detail::on_cuda<GRAFT_PROGRAM_NUMBERS>(c, f);
#endif
  return f.template operator()<graft::cpu<float>>();
}

}  // namespace programs
