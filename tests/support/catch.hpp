// SPDX-License-Identifier: MIT
// Catch2, whichever of v2 (Debian 12, Ubuntu 22.04) and v3 (newer systems) is installed.
#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;
#else
#include <catch2/catch.hpp>
#endif
