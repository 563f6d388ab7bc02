// SPDX-License-Identifier: MIT
// How a test sees that a cache is empty however deep it nests.
#pragma once

#include <type_traits>

// All its members are empty types: anything that points or counts would raise the alignment.
template <class Cache>
inline constexpr bool keeps_nothing =
    alignof(Cache) == 1 &&
    std::is_trivially_destructible_v<Cache>&& std::is_trivially_default_constructible_v<Cache>;
