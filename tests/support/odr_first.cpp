// SPDX-License-Identifier: MIT
// Every header of graft in the first of two files of one program.
#include "all_headers.hpp"

int version_seen_by_the_second_file();

int main() { return version_seen_by_the_second_file() == GRAFT_VERSION ? 0 : 1; }
