// SPDX-License-Identifier: MIT
// Bottleneck adapters: a small two- or three-matrix network behind, before or beside a layer, or in a
// join.
#pragma once

#include <graft/tuning/adapter_branch.hpp>
#include <graft/tuning/bottleneck_join.hpp>
#include <graft/tuning/bottleneck_layer.hpp>
#include <graft/tuning/bottleneck_spec.hpp>
