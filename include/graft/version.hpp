// SPDX-License-Identifier: MIT
// The version of these headers; the build system reads it from here.
#pragma once

// major * 10000 + minor * 100 + patch, for `#if`.
#define GRAFT_VERSION 100

namespace graft {

inline constexpr int version_major = GRAFT_VERSION / 10000;
inline constexpr int version_minor = GRAFT_VERSION / 100 % 100;
inline constexpr int version_patch = GRAFT_VERSION % 100;

}  // namespace graft
