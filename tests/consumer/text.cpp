// SPDX-License-Identifier: MIT
// A user's program that needs graft::text.
#include <graft/version.hpp>

#include <utf8proc.h>

int main() { return utf8proc_version() != nullptr && GRAFT_VERSION > 0 ? 0 : 1; }
