// SPDX-License-Identifier: MIT
// Marks functions that are compiled for the host and for a GPU.
#pragma once

#ifdef __CUDACC__
#define GRAFT_DEVICE __host__ __device__
#else
#define GRAFT_DEVICE
#endif
