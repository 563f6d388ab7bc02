// SPDX-License-Identifier: MIT
// The CPU backend, compiled once for a program whose other files define GRAFT_CPU_EXTERN.
#undef GRAFT_CPU_EXTERN
#include <graft/backend/cpu.hpp>

template struct graft::cpu<float>;
template struct graft::cpu<double>;
