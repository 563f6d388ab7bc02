// SPDX-License-Identifier: MIT
// The file through which CMake builds the precompiled header.
#include "support/precompiled.hpp"
