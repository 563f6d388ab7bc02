// SPDX-License-Identifier: MIT
// Every header of graft in the second of two files of one program.
#include "all_headers.hpp"

int version_seen_by_the_second_file();

int version_seen_by_the_second_file() { return GRAFT_VERSION; }
