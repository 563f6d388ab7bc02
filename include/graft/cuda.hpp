// SPDX-License-Identifier: MIT
// graft on GPUs: everything but text, with the GPU backend. (Programs link graft::cuda.)
#pragma once

#include <graft/backend/cuda.hpp>
#include <graft/graft.hpp>
