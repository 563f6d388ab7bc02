// SPDX-License-Identifier: MIT
// graft on the processor: everything but text, with the CPU backend.
#pragma once

#include <graft/backend/cpu.hpp>
#include <graft/graft.hpp>
