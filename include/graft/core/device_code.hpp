// SPDX-License-Identifier: MIT
// Marks functions that are compiled for the host and for a GPU, and loops that a GPU's code repeats in full.
#pragma once

#ifdef __CUDACC__
#define GRAFT_DEVICE __host__ __device__
#define GRAFT_UNROLL _Pragma("unroll")
#else
#define GRAFT_DEVICE
#define GRAFT_UNROLL
#endif
