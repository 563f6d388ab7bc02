// SPDX-License-Identifier: MIT
// Several adapters over one base at one place, as decorations: compose::stack, fuse, average, split,
// batch_split and by_task. They are called a, b, c, …: layer.0.feed_forward_join.adapter.a.down.weight.
//
//   on(at::feed_forward_join, compose::fuse{.adapters = 3, .each = bottleneck{.width = 48}})
#pragma once

#include <graft/tuning/composition/average.hpp>
#include <graft/tuning/composition/by_task.hpp>
#include <graft/tuning/composition/fuse.hpp>
#include <graft/tuning/composition/split.hpp>
#include <graft/tuning/composition/stack.hpp>
